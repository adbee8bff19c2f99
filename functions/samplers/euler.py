"""Baselines: Euler on the probability flow, Euler-Maruyama on the reverse SDE."""

from __future__ import annotations

import torch
from torch import Tensor

from configs.parts import require
from configs.values import PositiveOrZero
from functions.basis import silent
from functions.parts import SAMPLERS
from functions.plan import Plan, Stage
from functions.process import Process
from functions.rows import pairs, root
from functions.samplers.classical import classical


@SAMPLERS.part(title="Euler, Euler-Maruyama (lam 1)", paper="2011.13456", order="1", nfe="S")
def euler(process: Process, grid: Tensor, lam: PositiveOrZero = 0.0) -> Plan:
    """Euler's step in t of du = (F u + (1 + lam^2)/2 G G^T R^-T eps) dt + lam G dw, one evaluation
    a step, no noise in the last step.

    lam: 0 is the probability flow (2011.13456, eq. 13), 1 Euler-Maruyama on the reverse SDE (eq.
    6), which needs a signal at the first time. Raises ValueError for lam out of range, and for lam
    above 0 where there is none.
    """
    require(euler, lam=lam)
    steps, stages = pairs(grid), []
    if silent(process, steps[0][0]):
        if lam == 0:
            return classical(process, grid, "euler")  # with the velocity as answer
        raise ValueError(
            f"euler with lam {lam:g} cannot begin at t = {steps[0][0]:g}, where the process has no "
            "signal and its noise no finite rate; take gddim with this lam, which is exact there"
        )
    for i, (t, s) in enumerate(steps):
        h, F, spread = s - t, process.drift(t), process.diffusion(t)
        A = torch.eye(F.shape[-1], dtype=torch.float64) + h * F
        B = h * (1 + lam**2) / 2 * spread @ torch.linalg.inv(process.factor(t)).mT
        drawn = lam > 0 and i < len(steps) - 1
        C = lam * torch.sqrt(-h) * root(spread) if drawn else None
        stages.append(Stage(float(t), float(s), A, {i: B}, C))
    return Plan(tuple(stages), "eps")
