"""Multistep solvers in lambda = log(alpha/sigma): DPM-Solver++ (2211.01095), UniPC (2302.04867)."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Annotated, Literal

import torch
from annotated_types import Ge, Le
from torch import Tensor

from configs.parts import require
from functions.exponential import in_lambda
from functions.multistep import multistep
from functions.parts import SAMPLERS
from functions.plan import Plan
from functions.process import Process, VariancePreserving
from functions.rows import checked, need_scalar, need_steps, pairs

Basis = Literal["x0", "eps"]
FEW_STEPS = 15  # below this many, the published DPM-Solver++ lowers its order in the last steps


@SAMPLERS.part(
    title="DPM-Solver++ 1M, 2M, 3M, SDE", paper="2211.01095", order="1, 2; 3M: 2", nfe="S"
)
def dpm_solver_pp(
    process: Process,
    grid: Tensor,
    order: Annotated[int, Ge(1), Le(3)] = 2,
    sde: bool = False,
    basis: Basis = "x0",
    exact: bool = False,
    lower_order_final: bool | None = None,
) -> Plan:
    """DPM-Solver++(1M, 2M, 3M), one evaluation a step (Lu et al. 2022, algorithm 2).

    sde: the reverse SDE instead of the probability flow, with fresh noise at every step. basis:
    what is interpolated, "x0" (++) or "eps" (DPM-Solver). exact: integrate the polynomial exactly;
    as published, 2M takes the midpoint rule for its first moment, and 3M half of the second, which
    makes it second order. lower_order_final: order 2 and 1 in the last two steps; None: below 15
    steps, as published. The step to the clean end is always of order 1.

    Raises ValueError for an order outside 1 to 3, fewer steps than the order, sde with basis eps.
    """
    require(dpm_solver_pp, order=order, basis=basis)
    if sde and basis == "eps":
        raise ValueError("the SDE of DPM-Solver++ interpolates x0: basis should be x0, not eps")
    scalar, steps = need_scalar(process, "DPM-Solver++"), pairs(grid)
    need_steps(steps, order, f"DPM-Solver++ of order {order}")
    lower = len(steps) < FEW_STEPS if lower_order_final is None else lower_order_final

    def depth(i: int) -> int:
        here = min(order, i + 1, len(steps) - i if lower else order)
        return here if scalar.rho(steps[i][1]) > 0 else 1

    adapt = None if exact else _published
    row = partial(in_lambda, scalar, basis=basis, rate=2 if sde else 1, adapt=adapt)
    stages = multistep(grid, depth, row)
    if sde:
        stages = [
            replace(stage, C=_drawn(scalar, *step))
            for stage, step in zip(stages, steps, strict=True)
        ]
    return checked(scalar, stages, basis)


def _drawn(process: VariancePreserving, t: Tensor, s: Tensor) -> Tensor | None:
    """sigma_s sqrt(1 - e^(-2h)); none at the clean end."""
    shrunk = (process.rho(s) / process.rho(t)) ** 2
    return (process.sigma(s) * torch.sqrt(1 - shrunk)).view(1, 1) if shrunk > 0 else None


def _published(found: list[Tensor], h: Tensor) -> list[Tensor]:
    half = [moment / 2 for moment in found]
    return [found[0], half[0]] if len(found) == 2 else [*found[:2], *half[2:]]


@SAMPLERS.part(title="UniPC", paper="2302.04867", order="order + 1 (with corrector)", nfe="S")
def unipc(
    process: Process,
    grid: Tensor,
    order: Annotated[int, Ge(1), Le(3)] = 3,
    variant: Literal["bh2", "bh1"] = "bh2",
    corrector: bool = True,
    basis: Basis = "x0",
) -> Plan:
    """UniPC (Zhao et al. 2023): multistep predictor of `order` 1 to 3, and a corrector of one order
    more that uses the evaluation at the predicted point, so that a step still costs one.

    variant: the B(h) that decides where the paper's shortcut is taken, in the predictor of order 2
    and the corrector of order 1; elsewhere it cancels. The order grows with the history and falls
    in the last steps; the last step is not corrected. Raises ValueError for an order outside 1 to 3
    or fewer steps than the order.
    """
    require(unipc, order=order, variant=variant, basis=basis)
    scalar, steps = need_scalar(process, "UniPC"), pairs(grid)
    need_steps(steps, order, f"UniPC of order {order}")

    def row(times: Tensor, s: Tensor) -> tuple[Tensor, list[Tensor]]:
        def shortcut(found: list[Tensor], h: Tensor) -> list[Tensor]:
            if len(found) != 2:
                return found
            scale = scalar.alpha(s) if basis == "x0" else -scalar.sigma(s)
            return [found[0], found[0] / 2 if variant == "bh2" else (scale * h / 2).view(1, 1)]

        return in_lambda(scalar, times, s, basis, adapt=shortcut)

    stages = multistep(grid, lambda i: min(order, i + 1, len(steps) - i), row, corrector)
    return checked(scalar, stages, basis)
