"""DDIM."""

from __future__ import annotations

import torch
from torch import Tensor

from configs.parts import require
from configs.values import PositiveOrZero
from functions.parts import SAMPLERS
from functions.plan import Plan, Stage
from functions.process import Process
from functions.rows import checked, need_scalar, pairs, transfer


@SAMPLERS.part(title="DDIM", paper="2010.02502", order="1", nfe="S", aliases={"generalized": ""})
def ddim(process: Process, grid: Tensor, eta: PositiveOrZero = 0.0) -> Plan:
    """DDIM (2010.02502), one evaluation a step.

    eta: 0 is deterministic, on any linear process; 1 draws the noise of DDPM's posterior. Raises
    ValueError for eta out of range or so large that it draws more noise than the process holds.
    """
    require(ddim, eta=eta)
    if eta > 0:
        need_scalar(process, "DDIM with eta > 0")
    stages = []
    for i, (t, s) in enumerate(pairs(grid)):
        (psi, B), r_t, r_s = transfer(process, t, s), process.factor(t), process.factor(s)
        noise = None
        if eta > 0 and r_s.any():
            noise = eta * r_s / r_t * torch.sqrt(1 - psi**-2)  # 2010.02502, eq. 16
            if (noise > r_s).any():
                raise ValueError(f"eta {eta:g} draws more noise than remains at t = {s:g}")
            B = torch.sqrt(r_s**2 - noise**2) - psi @ r_t  # eq. 12
        stages.append(Stage(float(t), float(s), psi, {i: B}, noise))
    return checked(process, stages, "eps")
