"""DDPM: ancestral sampling."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from configs.parts import require
from functions.parts import SAMPLERS
from functions.plan import Plan, Stage
from functions.process import Process
from functions.rows import checked, need_scalar, pairs


@SAMPLERS.part(
    title="DDPM ancestral sampling",
    paper="2006.11239",
    order="1",
    nfe="S",
    aliases={"ddpm_noisy": "large"},
)
def ddpm(process: Process, grid: Tensor, variance: Literal["large", "small"] = "large") -> Plan:
    """DDPM on any sub-sequence (2006.11239): posterior mean of the predicted x0 plus noise, one
    evaluation a step, no noise in the last step.

    variance: "large" is beta = 1 - abar_t/abar_s (`ddpm_noisy` of the DDIM repository), "small" the
    posterior's beta (1 - abar_s)/(1 - abar_t). Raises ValueError for another one.
    """
    require(ddpm, variance=variance)
    need_scalar(process, "DDPM")
    steps = pairs(grid)
    stages = []
    for i, (t, s) in enumerate(steps):
        abar_s, var_t, var_s = process.mean(s) ** 2, process.factor(t) ** 2, process.factor(s) ** 2
        keep = process.psi(t, s) ** -2  # 1 - beta
        # 2006.11239, eq. 7
        A = torch.sqrt(keep) * var_s / var_t
        B = torch.sqrt(abar_s) * (1 - keep) / var_t
        C = torch.sqrt((1 - keep) * (1 if variance == "large" else var_s / var_t))
        last = i == len(steps) - 1
        stages.append(Stage(float(t), float(s), A, {i: B}, None if last else C))
    return checked(process, stages, "x0", stochastic=True)
