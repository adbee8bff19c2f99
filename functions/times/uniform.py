"""Independent uniform times."""

from __future__ import annotations

import torch
from torch import Tensor

from functions.parts import TIMES
from functions.times.base import TimeSampler


@TIMES.part("uniform", title="independent uniform times", paper="2006.11239")
class Uniform(TimeSampler):
    """Independent times, each equally likely (2006.11239, algorithm 1)."""

    def sample(self, n: int, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        return self._draw(n, generator), torch.ones(n)

    def density(self) -> tuple[Tensor, Tensor]:
        return self._times(), torch.full((self.count,), 1 / self.count, dtype=torch.float64)
