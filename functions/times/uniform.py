"""Uniform training times."""

from __future__ import annotations

import torch
from torch import Tensor

from functions.parts import TIMES
from functions.times.base import TimeSampler


@TIMES.part("uniform", title="independent times, each equally likely", paper="2006.11239")
class Uniform(TimeSampler):
    """Independent times, each equally likely."""

    def sample(self, n: int, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        return self._draw(n, generator), torch.ones(n)
