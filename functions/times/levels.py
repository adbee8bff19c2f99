"""Base class of the densities of times that are laws of the noise level."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from functions.process import Process
from functions.rows import need_scalar
from functions.times.base import TimeSampler


class LevelSampler(TimeSampler):
    """Times whose noise level sigma/alpha follows a law, importance weights 1.

    Noise levels outside the training times are moved to their ends; a discrete process takes the
    nearest time. Raises ValueError for a process without numbers as coefficients.
    """

    def __init__(self, process: Process, name: str) -> None:
        self.scalar = need_scalar(process, f"density of times {name}")
        super().__init__(process)

    @abstractmethod
    def levels(self, n: int, generator: torch.Generator | None) -> Tensor:
        """Draw noise levels (n,), float64."""

    @abstractmethod
    def below(self, level: Tensor) -> Tensor:
        """Probability of a lower noise level than each of `level`, float64."""

    def sample(self, n: int, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        t = self.scalar.time_of(self.levels(n, generator)).clamp(self.low, self.high)
        return t.round().long() if self.discrete else self._real(t), torch.ones(n)

    def density(self) -> tuple[Tensor, Tensor]:
        t = self._times()
        edges = (t[1:] + t[:-1]) / 2
        if not self.discrete:
            edges = self.process.time_at(torch.arange(1, self.count).double() / self.count)
        below = self.below(self.scalar.rho(edges))
        return t, torch.cat([torch.zeros(1), below, torch.ones(1)]).diff()
