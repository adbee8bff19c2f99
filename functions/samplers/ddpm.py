"""DDPM: ancestral sampling."""

from __future__ import annotations

import torch
from torch import Tensor

from configs.parts import require
from functions.chain import Chain
from functions.denoiser import Variance
from functions.parts import SAMPLERS
from functions.plan import Plan, Stage
from functions.process import Process
from functions.rows import checked, need_scalar


@SAMPLERS.part(
    title="DDPM ancestral sampling",
    paper="2006.11239",
    order="1",
    nfe="S",
    aliases={"ddpm_noisy": "large"},
)
def ddpm(process: Process, grid: Tensor, variance: Variance = "large") -> Plan:
    """DDPM on any sub-sequence (2006.11239): posterior mean of the predicted x0 plus noise, one
    evaluation a step, no noise in the last step.

    variance: "large" is beta = 1 - abar_t/abar_s (`ddpm_noisy` of the DDIM repository), "small" the
    posterior's beta (1 - abar_s)/(1 - abar_t), "learned" what the network says between the two
    (2102.09672, eq. 15), all of the grid's own chain. Raises ValueError for another one.
    """
    require(ddpm, variance=variance)
    chain, stages = Chain.over(need_scalar(process, "DDPM"), grid), []
    spread = (torch.log(chain.beta) - torch.log(chain.posterior)) / 2
    drawn = torch.sqrt(chain.beta if variance == "large" else chain.posterior)
    for i, (t, s) in enumerate(zip(chain.t, chain.s, strict=True)):
        A, B, C, D = (row[i][None, None] for row in (chain.of_x, chain.of_x0, drawn, spread))
        noisy, learned = i < len(drawn) - 1, variance == "learned"
        stages.append(
            Stage(
                float(t),
                float(s),
                A,
                {i: B},
                C if noisy else None,
                spread=D if noisy and learned else None,
            )
        )
    return checked(process, stages, "x0", stochastic=True)
