"""Logit-normal times."""

from __future__ import annotations

import torch
from torch import Tensor

from configs.parts import require
from configs.values import Positive
from functions.parts import TIMES
from functions.process import Process
from functions.times.base import TimeSampler


@TIMES.part("logit_normal", title="logit-normal times: the middle ones", paper="2403.03206")
class LogitNormal(TimeSampler):
    """u = 1 / (1 + exp(-z)), z normal (2403.03206, eq. 19), importance weights 1.

    u is a share of the training interval, 0 its cleanest and 1 its noisiest time: low + u (high -
    low) on a continuous process, floor(u T) on a discrete one with T times. mean, std: of z; a
    positive mean favours noisy times. Raises ValueError for options out of range.
    """

    def __init__(self, process: Process, mean: float = 0.0, std: Positive = 1.0) -> None:
        require(LogitNormal, mean=mean, std=std)
        super().__init__(process)
        self.mean, self.std = mean, std

    def sample(self, n: int, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        z = torch.randn(n, generator=generator, dtype=torch.float64)
        return self._placed(torch.sigmoid(self.mean + self.std * z)), torch.ones(n)

    def density(self) -> tuple[Tensor, Tensor]:
        edges = torch.linspace(0, 1, self.count + 1, dtype=torch.float64)
        below = torch.special.ndtr((torch.logit(edges) - self.mean) / self.std)
        return self._times(), below.diff()
