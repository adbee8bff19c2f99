"""DPM-Solver++: multistep in lambda = log(alpha/sigma)."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Annotated

import torch
from annotated_types import Ge, Le
from torch import Tensor

from configs.parts import require
from configs.values import Positive
from functions.basis import silent
from functions.exponential import InLambda, in_lambda
from functions.multistep import multistep
from functions.parts import SAMPLERS
from functions.plan import Plan
from functions.process import Process, Scalar
from functions.rows import checked, need_scalar, need_steps, pairs

FEW_STEPS = 15  # below this many, the published DPM-Solver++ lowers its order in the last steps


@SAMPLERS.part(
    title="DPM-Solver++ 1M, 2M, 3M, SDE", paper="2211.01095", order="1, 2; 3M: 2", nfe="S"
)
def dpm_solver_pp(
    process: Process,
    grid: Tensor,
    order: Annotated[int, Ge(1), Le(3)] = 2,
    sde: bool = False,
    basis: InLambda = "x0",
    exact: bool = False,
    lower_order_final: bool | None = None,
    lam: Positive = 1.0,
    s_noise: Positive = 1.0,
) -> Plan:
    """DPM-Solver++ (1M, 2M, 3M; 2211.01095, algorithm 2), one evaluation a step.

    sde: the reverse SDE instead of the probability flow, with fresh noise in every step.
    basis: what is interpolated, "x0" (DPM-Solver++) or "eps" (DPM-Solver).
    exact: integrate the polynomial exactly. As published, 2M takes the midpoint rule for its first
        moment, and 3M half of the second moment, which makes it second order.
    lower_order_final: order 2 and 1 in the last two steps; None: below 15 steps, as published. The
        step to the clean end is always of order 1.
    lam: lam^2 of the reverse SDE's noise, as in `gddim`; k-diffusion's eta is lam^2.
    s_noise: factor on the noise.

    Raises ValueError for options out of range, fewer steps than the order, sde with basis eps, and
    lam or s_noise without sde.
    """
    require(dpm_solver_pp, order=order, sde=sde, basis=basis, exact=exact)
    require(dpm_solver_pp, lower_order_final=lower_order_final, lam=lam, s_noise=s_noise)
    if not sde and (lam, s_noise) != (1.0, 1.0):
        raise ValueError("lam and s_noise need sde true")
    if sde and basis == "eps":
        raise ValueError("the SDE of DPM-Solver++ interpolates x0: basis should be x0, not eps")
    scalar, steps = need_scalar(process, "DPM-Solver++"), pairs(grid)
    need_steps(steps, order, f"DPM-Solver++ of order {order}")
    lower = len(steps) < FEW_STEPS if lower_order_final is None else lower_order_final

    begin = int(silent(process, steps[0][0]))  # an evaluation without a finite lambda

    def depth(i: int) -> int:
        here = min(order, max(i + 1 - begin, 1), len(steps) - i if lower else order)
        return here if scalar.rho(steps[i][1]) > 0 else 1

    adapt = None if exact else _published
    row = partial(in_lambda, scalar, basis=basis, rate=1 + lam**2 if sde else 1, adapt=adapt)
    stages = multistep(grid, depth, row)
    if sde:
        stages = [
            replace(stage, C=_drawn(scalar, *step, lam, s_noise))
            for stage, step in zip(stages, steps, strict=True)
        ]
    return checked(scalar, stages, basis)


def _drawn(process: Scalar, t: Tensor, s: Tensor, lam: float, s_noise: float) -> Tensor | None:
    """Coefficient of the noise, sigma_s sqrt(1 - e^(-2 lam^2 h)); None at the clean end."""
    if process.rho(s) == 0:
        return None
    kept = (process.rho(s) / process.rho(t)) ** (2 * lam**2)
    return (s_noise * process.sigma(s) * torch.sqrt(1 - kept)).view(1, 1)


def _published(found: list[Tensor], h: Tensor) -> list[Tensor]:
    """Moments as published instead of exact ones."""
    half = [moment / 2 for moment in found]
    return [found[0], half[0]] if len(found) == 2 else [*found[:2], *half[2:]]
