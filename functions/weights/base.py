"""The signal-to-noise ratio, and what the squared errors of the predictions have in common."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from configs.parts import require
from functions.denoiser import Predicts
from functions.process import Process
from functions.rows import need_scalar

MOST = 1e30  # bound of the signal-to-noise ratio, finite in float32 too

# |error of eps|^2 / |error of the prediction|^2 of one network, as a function of SNR
EPS_ERROR: dict[Predicts, Callable[[Tensor], Tensor]] = {
    "eps": torch.ones_like,
    "x0": lambda snr: snr,
    "v": lambda snr: snr / (snr + 1),  # alpha^2, where alpha^2 + sigma^2 = 1
}


def signal_to_noise(process: Process, t: Tensor, name: str) -> Tensor:
    """SNR = (alpha/sigma)^2 at t, float64, shaped like t, at most 1e30: the clean end is finite.

    Raises ValueError for a process whose coefficients are not numbers: a weight of this name is not
    defined there.
    """
    return need_scalar(process, f"loss weight {name}").rho(t).pow(-2).clamp(max=MOST)


def eps_error(snr: Tensor, predicts: Predicts) -> Tensor:
    """Factor that turns the squared error of a prediction into that of the noise it implies:
    |error of eps|^2 = SNR |error of x0|^2 = alpha^2 |error of v|^2 (2202.00512, section 4).

    Raises ValueError for an unknown prediction.
    """
    require(eps_error, predicts=predicts)
    return EPS_ERROR[predicts](snr)
