"""Times of log-normal noise levels."""

from __future__ import annotations

import torch
from torch import Tensor

from configs.parts import require
from configs.values import Positive
from functions.parts import TIMES
from functions.process import Process
from functions.rows import need_scalar
from functions.times.base import TimeSampler


@TIMES.part("lognormal_sigma", title="log-normal noise levels of EDM", paper="2206.00364")
class LognormalSigma(TimeSampler):
    """log(sigma/alpha) normal with mean p_mean and standard deviation p_std (2206.00364, table 1),
    importance weights 1.

    Noise levels outside the training times are moved to their ends; a discrete process takes the
    nearest time. Raises ValueError for options out of range, and for a process without numbers as
    coefficients.
    """

    def __init__(self, process: Process, p_mean: float = -1.2, p_std: Positive = 1.2) -> None:
        require(LognormalSigma, p_mean=p_mean, p_std=p_std)
        self.scalar = need_scalar(process, "density of times lognormal_sigma")
        super().__init__(process)
        self.p_mean, self.p_std = p_mean, p_std

    def sample(self, n: int, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        z = torch.randn(n, generator=generator, dtype=torch.float64)
        t = self.scalar.time_of(torch.exp(self.p_mean + self.p_std * z)).clamp(self.low, self.high)
        return t.round().long() if self.discrete else self._real(t), torch.ones(n)

    def density(self) -> tuple[Tensor, Tensor]:
        t = self._times()
        level = self.scalar.rho((t[1:] + t[:-1]) / 2).log()
        below = torch.special.ndtr((level - self.p_mean) / self.p_std)
        return t, torch.cat([torch.zeros(1), below, torch.ones(1)]).diff()
