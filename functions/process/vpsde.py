"""VPSDE: the continuous limit of DDPM's process."""

from __future__ import annotations

import torch
from torch import Tensor

from configs.parts import require
from configs.values import Positive
from functions.parts import PROCESSES
from functions.process.base import VariancePreserving


@PROCESSES.part("vpsde", title="variance-preserving SDE in continuous time", paper="2011.13456")
class VPSDE(VariancePreserving):
    """Variance-preserving SDE (2011.13456, eq. 29), time in [0, 1].

    log abar(t) = -t^2 (beta_max - beta_min)/2 - t beta_min. Sampling ends at t = 1e-3, training
    times are drawn from [1e-5, 1], the network receives 999 t. Raises ValueError for options out
    of range and beta_min above beta_max.
    """

    def __init__(self, beta_min: Positive = 0.1, beta_max: Positive = 20.0) -> None:
        require(VPSDE, beta_min=beta_min, beta_max=beta_max)
        if beta_min > beta_max:
            raise ValueError(f"beta_min {beta_min:g} is above beta_max, {beta_max:g}")
        self.beta_min, self.beta_max = beta_min, beta_max
        self.steps = None
        self.t_start, self.t_end, self.t_train = 1.0, 1e-3, (1e-5, 1.0)
        self.index_step = 1e-3

    def log_abar(self, t: Tensor) -> Tensor:
        t = t.double()
        return -0.5 * t**2 * (self.beta_max - self.beta_min) - t * self.beta_min

    def beta(self, t: Tensor) -> Tensor:
        return self.beta_min + t.double() * (self.beta_max - self.beta_min)

    def time_of(self, rho: Tensor) -> Tensor:
        depth, slope = 2 * torch.log1p(rho.double() ** 2), self.beta_max - self.beta_min
        return depth / (torch.sqrt(self.beta_min**2 + slope * depth) + self.beta_min)

    def network_time(self, t: Tensor) -> Tensor:
        return 999 * t
