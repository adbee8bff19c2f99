"""Uniform times in mirrored pairs."""

from __future__ import annotations

import torch
from torch import Tensor

from functions.parts import TIMES
from functions.times.uniform import Uniform


@TIMES.part("antithetic", title="uniform times in mirrored pairs", paper="2010.02502")
class Antithetic(Uniform):
    """Times of the DDIM repository: n/2 + 1 uniform ones, each paired with its mirror image."""

    def sample(self, n: int, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        t = self._draw(n // 2 + 1, generator)
        mirror = int(self.low) + int(self.high) - t if self.discrete else self.process.mirrored(t)
        return torch.cat([t, mirror])[:n], torch.ones(n)
