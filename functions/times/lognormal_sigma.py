"""Times of log-normal noise levels."""

from __future__ import annotations

import torch
from torch import Tensor

from configs.parts import require
from configs.values import Positive
from functions.parts import TIMES
from functions.process import Process
from functions.times.levels import LevelSampler


@TIMES.part("lognormal_sigma", title="log-normal noise levels of EDM", paper="2206.00364")
class LognormalSigma(LevelSampler):
    """log(sigma/alpha) normal with mean p_mean and standard deviation p_std (2206.00364, table 1).
    On flow this is `logit_normal`. Raises ValueError for options out of range, and as
    `LevelSampler` does.
    """

    def __init__(self, process: Process, p_mean: float = -1.2, p_std: Positive = 1.2) -> None:
        require(LognormalSigma, p_mean=p_mean, p_std=p_std)
        super().__init__(process, "lognormal_sigma")
        self.p_mean, self.p_std = p_mean, p_std

    def levels(self, n: int, generator: torch.Generator | None) -> Tensor:
        z = torch.randn(n, generator=generator, dtype=torch.float64)
        return torch.exp(self.p_mean + self.p_std * z)

    def below(self, level: Tensor) -> Tensor:
        return torch.special.ndtr((level.log() - self.p_mean) / self.p_std)
