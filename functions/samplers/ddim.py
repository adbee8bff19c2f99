"""DDIM."""

from __future__ import annotations

import torch
from torch import Tensor

from configs.parts import require
from configs.values import PositiveOrZero
from functions.basis import silent
from functions.parts import SAMPLERS
from functions.plan import Basis, Plan, Stage
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
    stages, steps = [], pairs(grid)
    basis: Basis = "x0" if silent(process, steps[0][0]) else "eps"
    for i, (t, s) in enumerate(steps):
        (A, B), r_t, r_s = transfer(process, t, s, basis), process.factor(t), process.factor(s)
        noise = None
        if eta > 0 and r_s.any():
            added = r_t**2 - (process.psi(s, t) * r_s) ** 2  # variance of x_t given x_s
            noise = eta * r_s / r_t * torch.sqrt(added)  # 2010.02502, eq. 16
            if (noise > r_s).any():
                raise ValueError(f"eta {eta:g} draws more noise than remains at t = {s:g}")
            kept = torch.sqrt(r_s**2 - noise**2)  # eq. 12
            A, B = _row(process, basis, t, s, kept)
        stages.append(Stage(float(t), float(s), A, {i: B}, noise))
    return checked(process, stages, basis)


def _row(
    process: Process, basis: Basis, t: Tensor, s: Tensor, kept: Tensor
) -> tuple[Tensor, Tensor]:
    """Coefficients of the state and of the answer that leave `kept` of the predicted noise at s."""
    if basis == "eps":
        psi = process.psi(t, s)
        return psi, kept - psi @ process.factor(t)
    A = kept / process.factor(t)
    return A, process.mean(s) - A @ process.mean(t)
