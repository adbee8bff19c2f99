"""Sub-VP: the SDE with the mean of VPSDE and less noise."""

from __future__ import annotations

import torch
from torch import Tensor

from configs.values import Positive
from functions.parts import PROCESSES
from functions.process.base import Scalar
from functions.process.vpsde import VPSDE


@PROCESSES.part("subvp", title="sub-VP SDE in continuous time", paper="2011.13456")
class SubVP(Scalar):
    """Sub-VP SDE (2011.13456, eq. 29): alpha of VPSDE and sigma = 1 - alpha^2, with its times.

    Raises ValueError as VPSDE does.
    """

    def __init__(self, beta_min: Positive = 0.1, beta_max: Positive = 20.0) -> None:
        self._vp = VPSDE(beta_min, beta_max)
        self.steps = None
        self.t_start, self.t_end, self.t_train = 1.0, 1e-3, (1e-5, 1.0)
        self.index_step = 1e-3

    def alpha(self, t: Tensor) -> Tensor:
        return self._vp.alpha(t)

    def sigma(self, t: Tensor) -> Tensor:
        return -torch.expm1(self._vp.log_abar(t))

    def slopes(self, t: Tensor) -> tuple[Tensor, Tensor]:
        alpha, beta = self.alpha(t), self._vp.beta(t)
        return -0.5 * beta * alpha, beta * alpha**2

    def time_of(self, rho: Tensor) -> Tensor:
        rho = rho.double()
        alpha = 2 / (rho + torch.sqrt(rho**2 + 4))  # (1 - alpha^2)/alpha = rho
        return self._vp.time_of(torch.sqrt(rho / alpha))  # sqrt(1 - alpha^2)/alpha of VPSDE

    def network_time(self, t: Tensor) -> Tensor:
        return self._vp.network_time(t)
