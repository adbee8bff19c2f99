"""The under-sampler: P2's emphasis by drawing times, not by weighing losses."""

from __future__ import annotations

import torch
from torch import Tensor

from configs.parts import require
from configs.values import Positive, PositiveOrZero
from functions.parts import TIMES
from functions.process import Process
from functions.rows import need_scalar
from functions.times.base import TimeSampler
from functions.weights import p2


@TIMES.part(
    "under", title="the under-sampler: times as often as P2 weighs them", paper="2204.00227"
)
class Under(TimeSampler):
    """Independent times, each with a probability proportional to P2's weight on the error of eps,
    1 / (k + SNR)^gamma, and losses unweighted: P2's gradient on average, up to a constant factor.

    probabilities: (T,) float64 on a discrete process, of CELLS equal cells on a continuous one.
    Raises ValueError for options out of range, and for a process without numbers as coefficients.
    """

    def __init__(self, process: Process, gamma: PositiveOrZero = 0.5, k: Positive = 1.0) -> None:
        require(Under, gamma=gamma, k=k)
        super().__init__(need_scalar(process, "density of times under"))
        weights = p2(process, self._times(), k=k, gamma=gamma)
        self.probabilities = weights / weights.sum()

    def sample(self, n: int, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        return self._draw_from(self.probabilities, n, generator), torch.ones(n)

    def density(self) -> tuple[Tensor, Tensor]:
        return self._times(), self.probabilities
