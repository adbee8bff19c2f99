"""Noise schedules: the betas of a discrete process."""

from __future__ import annotations

import numpy as np

from functions.parts import SCHEDULES


def beta_schedule(name: str, beta_start: float, beta_end: float, steps: int) -> np.ndarray:
    """Betas (steps,) in float64 of a registered noise schedule. Raises ValueError for an unknown
    name, fewer than one step, and betas outside (0, 1].
    """
    if name not in SCHEDULES:
        raise ValueError(f"unknown noise schedule {name!r}; it should be {SCHEDULES.near(name)}")
    if steps < 1:
        raise ValueError(f"a noise schedule needs at least one step, not {steps}")
    betas = np.asarray(SCHEDULES[name](beta_start, beta_end, steps), dtype=np.float64)
    if not ((betas > 0) & (betas <= 1)).all():
        raise ValueError(f"noise schedule {name}: betas must lie in (0, 1]")
    return betas


@SCHEDULES.part("linear", title="betas evenly spaced", paper="2006.11239")
def _linear(start: float, end: float, steps: int) -> np.ndarray:
    return np.linspace(start, end, steps)


@SCHEDULES.part("quad", title="square roots of betas evenly spaced", paper="2010.02502")
def _quad(start: float, end: float, steps: int) -> np.ndarray:
    return np.linspace(start**0.5, end**0.5, steps) ** 2


@SCHEDULES.part("const", title="all betas equal to the last", paper="2010.02502")
def _const(start: float, end: float, steps: int) -> np.ndarray:
    return np.full(steps, end)


@SCHEDULES.part("jsd", title="betas 1/T, 1/(T - 1), ..., 1", paper="2010.02502")
def _jsd(start: float, end: float, steps: int) -> np.ndarray:
    return 1.0 / np.linspace(steps, 1, steps)


@SCHEDULES.part("sigmoid", title="betas along a sigmoid", paper="2010.02502")
def _sigmoid(start: float, end: float, steps: int) -> np.ndarray:
    return (end - start) / (1 + np.exp(-np.linspace(-6, 6, steps))) + start


@SCHEDULES.part("cosine", title="signal power along cos^2, betas at most 0.999", paper="2102.09672")
def _cosine(start: float, end: float, steps: int) -> np.ndarray:
    f = np.cos((np.arange(steps + 1) / steps + 0.008) / 1.008 * np.pi / 2) ** 2  # eq. 17
    return np.minimum(1 - f[1:] / f[:-1], 0.999)
