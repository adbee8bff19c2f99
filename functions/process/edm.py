"""EDM: the variance-exploding process whose time is the noise level."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from configs.parts import require
from configs.values import Positive
from functions.parts import PROCESSES
from functions.process.base import Scalar


@PROCESSES.part("edm", title="noise added to unscaled data: EDM", paper="2206.00364")
class EDM(Scalar):
    """Variance-exploding process of EDM (2206.00364): x_t = x_0 + t noise, the time is sigma.

    Sampling starts from sigma_max times noise and goes to sigma_min, then to clean data at t = 0.
    Training times lie between the two, and are even in log(sigma) where a density is uniform; the
    network receives log(sigma)/4. The preconditioned network and the weight `edm` assume data of
    standard deviation sigma_data.

    Raises ValueError for options out of range and sigma_min not below sigma_max.
    """

    def __init__(
        self,
        sigma_min: Positive = 0.002,
        sigma_max: Positive = 80.0,
        sigma_data: Positive = 0.5,
    ) -> None:
        require(EDM, sigma_min=sigma_min, sigma_max=sigma_max, sigma_data=sigma_data)
        if sigma_min >= sigma_max:
            raise ValueError(f"sigma_min {sigma_min:g} is not below sigma_max, {sigma_max:g}")
        self.sigma_data = sigma_data
        self.steps = None
        self.t_start, self.t_end, self.t_train = sigma_max, 0.0, (sigma_min, sigma_max)
        self.index_step = (sigma_max - sigma_min) / 1000

    def time_at(self, share: Tensor) -> Tensor:
        low, high = self.t_train  # in the logarithm: most of [0.002, 80] is hardly signal
        return low * (high / low) ** share

    def share_of(self, t: Tensor) -> Tensor:
        low, high = self.t_train
        return torch.log(t / low) / math.log(high / low)

    def mirrored(self, t: Tensor) -> Tensor:
        low, high = self.t_train
        return low * high / t

    def alpha(self, t: Tensor) -> Tensor:
        return torch.ones_like(t, dtype=torch.float64)

    def sigma(self, t: Tensor) -> Tensor:
        return t.double()

    def slopes(self, t: Tensor) -> tuple[Tensor, Tensor]:
        one = torch.ones_like(t, dtype=torch.float64)
        return torch.zeros_like(one), one

    def time_of(self, rho: Tensor) -> Tensor:
        return rho.double()

    def network_time(self, t: Tensor) -> Tensor:
        return torch.log(t) / 4

    def prior(self, shape: tuple[int, ...], randn: Callable[[Tensor], Tensor]) -> Tensor:
        return self.t_start * super().prior(shape, randn)
