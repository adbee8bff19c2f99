"""VP: the discrete process of DDPM."""

from __future__ import annotations

from typing import Annotated

import torch
from annotated_types import Ge, Le
from torch import Tensor

from configs.parts import require
from functions.parts import PROCESSES
from functions.process.base import VariancePreserving
from functions.process.schedules import Beta, Name, beta_schedule, zero_snr


@PROCESSES.part(
    "vp",
    title="variance-preserving process in discrete time",
    paper="2006.11239",
    keys={"beta_schedule": "schedule", "num_diffusion_timesteps": "steps"},
)
class VP(VariancePreserving):
    """Variance-preserving process of DDPM (2006.11239, eq. 2 and 4) in discrete time.

    Time is the index: t = i is abar[i], i = 0..steps-1, and t = -1 is clean data. Between indices
    log abar is interpolated linearly.

    rescale_zero_snr: shift and scale alpha so that the last time has no signal (2305.08891,
        algorithm 1). Sampling from there needs predicts v or x0.

    Raises ValueError for options out of range, beta_start above beta_end, and betas outside (0, 1].
    """

    def __init__(
        self,
        schedule: Name = "linear",
        beta_start: Beta = 1e-4,
        beta_end: Beta = 0.02,
        steps: Annotated[int, Ge(1), Le(1_000_000)] = 1000,
        rescale_zero_snr: bool = False,
    ) -> None:
        require(VP, rescale_zero_snr=rescale_zero_snr)
        found = beta_schedule(schedule, beta_start, beta_end, steps)
        betas = torch.from_numpy(zero_snr(found) if rescale_zero_snr else found)
        if beta_start > beta_end:
            raise ValueError(f"beta_start {beta_start:g} is above beta_end, {beta_end:g}")
        log_abar = torch.log1p(-betas).cumsum(0)
        self._tables = {torch.device("cpu"): torch.cat([torch.zeros(1).double(), log_abar])}
        self.betas = betas
        self.steps = steps
        self.t_start, self.t_end, self.t_train = steps - 1.0, -1.0, (0.0, steps - 1.0)
        self.index_step = 1.0

    def log_abar(self, t: Tensor) -> Tensor:
        if t.device not in self._tables:
            self._tables[t.device] = self._tables[torch.device("cpu")].to(t.device)
        table = self._tables[t.device]
        position = t.double() + 1
        inside = (position >= 0) & (position <= len(table) - 1)  # false for NaN
        # on an accelerator the check would wait for the device
        if t.device.type == "cpu" and not bool(inside.all()):
            raise ValueError(f"time outside [-1, {len(table) - 2}]: {t.min():g} .. {t.max():g}")
        low = position.floor()
        weight, low = position - low, low.long()
        left, right = table[low], table[(low + 1).clamp(max=len(table) - 1)]
        # where() keeps an exact table value exact next to an infinite one (schedule jsd)
        return torch.where(weight == 0, left, left + weight * (right - left))

    def beta(self, t: Tensor) -> Tensor:
        return self.log_abar(torch.ceil(t) - 1) - self.log_abar(torch.ceil(t))

    def time_of(self, rho: Tensor) -> Tensor:
        table, log_abar = -self._tables[torch.device("cpu")], torch.log1p(rho.double().cpu() ** 2)
        right = torch.searchsorted(table, log_abar).clamp(1, len(table) - 1)
        weight = (log_abar - table[right - 1]) / (table[right] - table[right - 1])
        return (right - 2 + weight.clamp(0, 1)).to(rho.device)
