"""The signal-to-noise ratio, and the squared errors of all predictions in terms of that of eps."""

from __future__ import annotations

import torch
from torch import Tensor

from configs.parts import require
from functions.predictions import Predicts, to_clean, to_noise
from functions.process import Process
from functions.rows import need_scalar

MOST = 1e30  # bound of the signal-to-noise ratio, finite in float32 too


def signal_to_noise(process: Process, t: Tensor, name: str) -> Tensor:
    """SNR = (alpha/sigma)^2 at t, float64, shaped like t, at most 1e30: the clean end is finite.

    Raises ValueError for a process whose coefficients are not numbers: a weight of this name is not
    defined there.
    """
    return need_scalar(process, f"loss weight {name}").rho(t).pow(-2).clamp(max=MOST)


def eps_error(process: Process, t: Tensor, predicts: Predicts, name: str) -> Tensor:
    """Factor at t that turns the squared error of a prediction into that of the noise it implies,
    float64, shaped like t: 1 for eps, SNR for x0, alpha^2 for v where the variance is preserved
    (2202.00512, section 4), (1 - t)^2 for the velocity of flow matching.

    Raises ValueError for an unknown prediction, and as `signal_to_noise` does.
    """
    require(eps_error, predicts=predicts)
    scalar = need_scalar(process, f"loss weight {name}")
    return _square(t, to_noise(scalar, t, predicts)[0] if predicts != "eps" else None)


def clean_error(process: Process, t: Tensor, predicts: Predicts, name: str) -> Tensor:
    """Factor at t that turns the squared error of a prediction into that of the clean image it
    implies, as `eps_error` for the noise.
    """
    require(clean_error, predicts=predicts)
    scalar = need_scalar(process, f"loss weight {name}")
    return _square(t, to_clean(scalar, t, predicts)[0] if predicts != "x0" else None)


def _square(t: Tensor, of_answer: Tensor | None) -> Tensor:
    """Square of a coefficient, at most 1e30; 1 for None."""
    if of_answer is None:
        return torch.ones_like(t, dtype=torch.float64)
    return of_answer.square().clamp(max=MOST)
