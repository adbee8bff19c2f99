"""Epsilon scaling."""

from __future__ import annotations

import torch
from torch import Tensor

from functions.parts import SCALES
from functions.process import Process
from functions.scales.base import Scale


@SCALES.part(title="epsilon scaling: the noise divided by k t + b", paper="2308.15321")
def linear(process: Process, k: float = 0.0, b: float = 1.0) -> Scale:
    """Divide the predicted noise by k t + b (2308.15321, section 5); t as the network receives it.

    Raises ValueError where k t + b is not above 0 at every time of sampling.
    """
    ends = torch.tensor([process.t_last, process.t_start], dtype=torch.float64)
    if not bool((k * process.network_time(ends) + b > 0).all()):
        raise ValueError(f"k t + b should be above 0 at every time, not with k {k:g} and b {b:g}")

    def scale(t: Tensor) -> Tensor:
        return 1 / (k * process.network_time(t.double()) + b)

    return scale
