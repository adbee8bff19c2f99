"""P2: perception-prioritised weighting."""

from __future__ import annotations

from torch import Tensor

from configs.parts import require
from configs.values import Positive, PositiveOrZero
from functions.parts import WEIGHTS
from functions.predictions import Predicts
from functions.process import Process
from functions.weights.base import eps_error, signal_to_noise


@WEIGHTS.part(title="P2: less weight where hardly any noise is left", paper="2204.00227")
def p2(
    process: Process,
    t: Tensor,
    k: Positive = 1.0,
    gamma: PositiveOrZero = 1.0,
    predicts: Predicts = "eps",
) -> Tensor:
    """1 / (k + SNR)^gamma on the squared error of eps (2204.00227, eq. 8).

    Raises ValueError for options out of range, and as `signal_to_noise` does.
    """
    require(WEIGHTS.parts["p2"], k=k, gamma=gamma)
    snr = signal_to_noise(process, t, "p2")
    return eps_error(process, t, predicts, "p2") / (k + snr) ** gamma
