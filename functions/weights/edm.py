"""Weights on the squared error of x0: EDM's, and SNR + 1."""

from __future__ import annotations

from torch import Tensor

from functions.parts import WEIGHTS
from functions.predictions import Predicts
from functions.process import Process
from functions.rows import need_scalar
from functions.weights.base import clean_error, eps_error


@WEIGHTS.part(title="EDM: 1 on the squared error of the preconditioned network", paper="2206.00364")
def edm(process: Process, t: Tensor, predicts: Predicts = "x0") -> Tensor:
    """(sigma^2 + sigma_data^2)/(sigma sigma_data)^2 on the squared error of x0, sigma the noise
    level sigma/alpha (2206.00364, table 1): 1 on that of the network under predicts edm.

    Raises ValueError as `signal_to_noise` does.
    """
    data = need_scalar(process, "loss weight edm").sigma_data
    of_clean = clean_error(process, t, predicts, "edm")
    return eps_error(process, t, predicts, "edm") + data**-2 * of_clean


@WEIGHTS.part(title="SNR + 1 on the squared error of x0: 1 on that of v", paper="2202.00512")
def snr_plus_one(process: Process, t: Tensor, predicts: Predicts = "x0") -> Tensor:
    """SNR + 1 on the squared error of x0 (2202.00512, section 4): 1 on that of v where the variance
    is preserved. Raises ValueError as `signal_to_noise` does.
    """
    of_clean = clean_error(process, t, predicts, "snr_plus_one")
    return eps_error(process, t, predicts, "snr_plus_one") + of_clean
