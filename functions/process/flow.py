"""Flow: the straight line between data and noise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from configs.parts import require
from functions.parts import PROCESSES
from functions.process.base import Scalar

Told = Literal["1000t", "t", "1-t"]
TOLD: dict[Told, Callable[[Tensor], Tensor]] = {
    "1000t": lambda t: 1000 * t,
    "t": lambda t: t,
    "1-t": lambda t: 1 - t,
}


@PROCESSES.part("flow", title="straight line from data to noise: flow matching", paper="2209.03003")
class Flow(Scalar):
    """Linear interpolant of rectified flow and flow matching (2209.03003, 2210.02747): x_t = (1 -
    t) x_0 + t noise, time in [0, 1].

    Sampling walks from t = 1, which has no signal, to t = 0, which has no noise.

    time: what the network receives, 1000 t, t, or 1 - t (the direction of torchcfm). Raises
    ValueError for another one.
    """

    def __init__(self, time: Told = "1000t") -> None:
        require(Flow, time=time)
        self.time = time
        self.steps = None
        self.t_start, self.t_end, self.t_train = 1.0, 0.0, (0.0, 1.0)
        self.index_step = 1e-3

    @property
    def levels(self) -> tuple[float, float]:
        return 1 - self.index_step, self.index_step

    def alpha(self, t: Tensor) -> Tensor:
        return 1 - t.double()

    def sigma(self, t: Tensor) -> Tensor:
        return t.double()

    def slopes(self, t: Tensor) -> tuple[Tensor, Tensor]:
        one = torch.ones_like(t, dtype=torch.float64)
        return -one, one

    def time_of(self, rho: Tensor) -> Tensor:
        return 1 / (1 + 1 / rho.double())

    def network_time(self, t: Tensor) -> Tensor:
        return TOLD[self.time](t)
