"""Times of uniform angles."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from functions.parts import TIMES
from functions.process import Process
from functions.times.levels import LevelSampler


@TIMES.part("cosmap", title="uniform angles: the noise levels of the cosine", paper="2403.03206")
class CosMap(LevelSampler):
    """sigma/alpha = tan(pi u/2), u uniform (2403.03206, section 3.1): the noise levels of uniform
    times where alpha = cos, sigma = sin. Raises ValueError as `LevelSampler` does.
    """

    def __init__(self, process: Process) -> None:
        super().__init__(process, "cosmap")

    def levels(self, n: int, generator: torch.Generator | None) -> Tensor:
        u = torch.rand(n, generator=generator, dtype=torch.float64)
        return torch.tan(math.pi / 2 * u)

    def below(self, level: Tensor) -> Tensor:
        return 2 / math.pi * torch.atan(level)
