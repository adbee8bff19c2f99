"""Noise schedules: (start, end, steps) -> betas (steps,) in float64."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from annotated_types import Gt, Lt

from configs.parts import require
from configs.values import Count, OneOf
from functions.parts import SCHEDULES

Name = Annotated[str, OneOf(SCHEDULES)]
Beta = Annotated[float, Gt(0), Lt(1)]


def beta_schedule(schedule: Name, beta_start: Beta, beta_end: Beta, steps: Count) -> np.ndarray:
    """Betas (steps,) of a noise schedule in float64.

    Raises ValueError for options out of range and for betas outside (0, 1].
    """
    require(beta_schedule, schedule=schedule, beta_start=beta_start, beta_end=beta_end, steps=steps)
    betas = np.asarray(SCHEDULES[schedule](beta_start, beta_end, steps), dtype=np.float64)
    if betas.shape != (steps,) or not ((betas > 0) & (betas <= 1)).all():
        raise ValueError(f"schedule {schedule}: betas should be {steps} numbers in (0, 1]")
    return betas


def zero_snr(betas: np.ndarray) -> np.ndarray:
    """Betas (steps,) whose alpha is shifted to end at 0 and scaled to begin where it began
    (2305.08891, algorithm 1). Raises ValueError for a single step, which cannot do both.
    """
    if len(betas) < 2:
        raise ValueError("rescale_zero_snr needs at least 2 steps")
    alpha = np.sqrt(np.cumprod(1 - betas))
    alpha = (alpha - alpha[-1]) * alpha[0] / (alpha[0] - alpha[-1])
    return 1 - (alpha / np.append(1.0, alpha[:-1])) ** 2


@SCHEDULES.part(title="beta linear in t", paper="2006.11239")
def linear(start: float, end: float, steps: int) -> np.ndarray:
    """Betas evenly spaced from start to end."""
    return np.linspace(start, end, steps)


@SCHEDULES.part(title="root of beta linear in t", paper="2006.11239")
def quad(start: float, end: float, steps: int) -> np.ndarray:
    """Squares of numbers evenly spaced from the root of start to the root of end."""
    return np.linspace(start**0.5, end**0.5, steps) ** 2


@SCHEDULES.part(title="one beta at every t", paper="2006.11239")
def const(start: float, end: float, steps: int) -> np.ndarray:
    """`end` at every step; start is not used."""
    return np.full(steps, end)


@SCHEDULES.part(title="beta 1/T, 1/(T-1), ..., 1", paper="")
def jsd(start: float, end: float, steps: int) -> np.ndarray:
    """1/T, 1/(T-1), ..., 1: the last step destroys the signal; start and end are not used."""
    return 1.0 / np.linspace(steps, 1, steps)


@SCHEDULES.part(title="beta along a sigmoid", paper="2010.02502")
def sigmoid(start: float, end: float, steps: int) -> np.ndarray:
    """Sigmoid from -6 to 6 of the DDIM repository, scaled to go from start to end."""
    return (end - start) / (1 + np.exp(-np.linspace(-6, 6, steps))) + start


@SCHEDULES.part(title="abar along a squared cosine", paper="2102.09672")
def cosine(start: float, end: float, steps: int) -> np.ndarray:
    """Betas of a squared cosine of abar, at most 0.999; start and end are not used."""
    # 2102.09672, eq. 17
    f = np.cos((np.arange(steps + 1) / steps + 0.008) / 1.008 * np.pi / 2) ** 2
    return np.minimum(1 - f[1:] / f[:-1], 0.999)
