"""Min-SNR-gamma."""

from __future__ import annotations

from torch import Tensor

from configs.parts import require
from configs.values import Positive
from functions.parts import WEIGHTS
from functions.predictions import Predicts
from functions.process import Process
from functions.weights.base import eps_error, signal_to_noise


@WEIGHTS.part(title="min-SNR: the weight of x0 is SNR, at most gamma", paper="2303.09556")
def min_snr(
    process: Process, t: Tensor, gamma: Positive = 5.0, predicts: Predicts = "eps"
) -> Tensor:
    """min(SNR, gamma) on the squared error of x0: min(1, gamma/SNR) on that of eps, and min(SNR,
    gamma)/(SNR + 1) on that of v (2303.09556, section 3.4).

    Raises ValueError for options out of range, and as `signal_to_noise` does.
    """
    require(WEIGHTS.parts["min_snr"], gamma=gamma)
    snr = signal_to_noise(process, t, "min_snr")
    return eps_error(process, t, predicts, "min_snr") * (gamma / snr).clamp(max=1)
