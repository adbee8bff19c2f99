"""Factors on the predicted noise while sampling: (process, **options) -> scale(t), like t."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from functions.loss import SkipNoise, skip_scale
from functions.process import Process

Scale = Callable[[Tensor], Tensor]


def skip(process: Process, k: int = 9, tau: float = 0.99, noise: SkipNoise = "fresh") -> Scale:
    """What L_skip of distance k would have trained in, for any network: training-free S^2-DM.

    The factor is `loss.skip_scale` (2401.01520); it raises ValueError as that does.
    """
    most = round(process.t_train[1] / process.index_step)
    if not 1 <= k <= most:
        raise ValueError(f"k is a number of steps from 1 to {most}, not {k}")
    skip_scale(process, torch.zeros(1), k, tau, noise)  # refuses the others now, not while drawing
    return lambda t: skip_scale(process, t, k, tau, noise)


def linear(process: Process, k: float = 0.0, b: float = 1.0) -> Scale:
    """Epsilon scaling: the noise divided by k t + b (Ning et al. 2024, 2308.15321, section 5).

    t is the time as the network is told it. Raises ValueError where k t + b is not positive.
    """
    ends = torch.tensor([process.t_end, process.t_start], dtype=torch.float64)
    if not bool((k * process.network_time(ends) + b > 0).all()):
        raise ValueError(f"k t + b should be above 0 at every time, not with k {k:g} and b {b:g}")
    return lambda t: 1 / (k * process.network_time(t.double()) + b)


SCALES: dict[str, Callable[..., Scale]] = {"skip": skip, "linear": linear}
