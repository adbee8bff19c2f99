"""Weights without options."""

from __future__ import annotations

import torch
from torch import Tensor

from functions.parts import WEIGHTS
from functions.predictions import Predicts
from functions.process import Process
from functions.weights.base import eps_error


@WEIGHTS.part(title="every time alike: the squared error of the prediction", paper="")
def none(process: Process, t: Tensor) -> Tensor:
    """1, on any process and under every prediction."""
    return torch.ones_like(t, dtype=torch.float64)


@WEIGHTS.part(title="the squared error of eps, whatever is predicted", paper="2202.00512")
def snr(process: Process, t: Tensor, predicts: Predicts = "eps") -> Tensor:
    """1 on the squared error of eps: SNR on that of x0 (2202.00512, eq. 9), SNR/(SNR + 1) on v's.

    Raises ValueError as `signal_to_noise` does.
    """
    return eps_error(process, t, predicts, "snr")
