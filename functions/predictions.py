"""Predictions: what a network may be trained to answer on a process with numbers as coefficients.

Every prediction is a combination p = m x0 + n noise of data and noise, with m and n fixed at a
time. Beside x = alpha x0 + sigma noise it can be solved for both, so these pairs (m, n) are all
that targets, conversions and loss weights know about a prediction.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from functions.process import Scalar

Predicts = Literal["eps", "x0", "v", "velocity", "edm"]
Pair = tuple[Tensor, Tensor]

NEED_SIGNAL = ("eps", "edm")  # tell nothing, or not when, where there is no signal


def _edm(alpha: Tensor, sigma: Tensor, data: float) -> Pair:
    # F = (x0 - c_skip x)/c_out of x/alpha at the noise level sigma/alpha: 2206.00364, eq. 8
    size = torch.sqrt(sigma**2 + (alpha * data) ** 2)
    return sigma / (data * size), -alpha * data / size


# (alpha, sigma, sigma_data) -> (m, n)
PAIRS: dict[Predicts, Callable[[Tensor, Tensor, float], Pair]] = {
    "eps": lambda alpha, sigma, data: (torch.zeros_like(alpha), torch.ones_like(alpha)),
    "x0": lambda alpha, sigma, data: (torch.ones_like(alpha), torch.zeros_like(alpha)),
    "v": lambda alpha, sigma, data: (-sigma, alpha),  # 2202.00512
    "velocity": lambda alpha, sigma, data: (-torch.ones_like(alpha), torch.ones_like(alpha)),
    "edm": _edm,
}


def pair(process: Scalar, t: Tensor, predicts: Predicts) -> Pair:
    """(m, n) of p = m x0 + n noise at t, float64, shaped like t."""
    return PAIRS[predicts](process.alpha(t), process.sigma(t), process.sigma_data)


def to_clean(process: Scalar, t: Tensor, predicts: Predicts) -> Pair:
    """Coefficients (of p, of x) of the clean state, float64, shaped like t."""
    m, n = pair(process, t, predicts)
    sigma = process.sigma(t)
    det = m * sigma - n * process.alpha(t)
    return sigma / det, -n / det


def to_noise(process: Scalar, t: Tensor, predicts: Predicts) -> Pair:
    """Coefficients (of p, of x) of the noise, float64, shaped like t."""
    m, n = pair(process, t, predicts)
    alpha = process.alpha(t)
    det = m * process.sigma(t) - n * alpha
    return -alpha / det, m / det


def input_scale(process: Scalar, t: Tensor) -> Tensor:
    """c_in of EDM's preconditioning, which gives data of standard deviation sigma_data the variance
    1 at every t (2206.00364, table 1), float64, shaped like t.
    """
    alpha, sigma = process.alpha(t), process.sigma(t)
    return 1 / torch.sqrt(sigma**2 + (alpha * process.sigma_data) ** 2)


def noise_condition(process: Scalar, t: Tensor) -> Tensor:
    """c_noise of EDM's preconditioning, log(sigma/alpha)/4 (2206.00364, table 1)."""
    return torch.log(process.rho(t)) / 4
