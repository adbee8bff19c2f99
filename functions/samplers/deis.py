"""DEIS: Zhang & Chen 2023 (2204.13902), exponential Adams-Bashforth in three variables."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Literal

from annotated_types import Ge, Le
from torch import Tensor

from configs.parts import require
from functions.exponential import in_lambda, in_rho, in_time
from functions.multistep import multistep
from functions.parts import SAMPLERS
from functions.plan import Plan
from functions.process import Process
from functions.rows import checked, need_scalar, need_steps, pairs


@SAMPLERS.part(title="DEIS tAB, rhoAB, lambda", paper="2204.13902", order="order + 1", nfe="S")
def deis(
    process: Process,
    grid: Tensor,
    order: Annotated[int, Ge(0), Le(3)] = 3,
    variable: Literal["t", "rho", "lambda"] = "t",
) -> Plan:
    """One evaluation a step; the noise estimate is a polynomial of degree `order` (0 to 3) in
    `variable` through the last evaluations: t is tAB, rho is rhoAB, lambda is multistep DPM-Solver.
    Order 0 is DDIM. The degree grows with the history; in lambda the step to the clean end, where
    lambda is infinite, has degree 0. Raises ValueError for another order or variable, fewer than
    order + 1 steps, and for rho and lambda on a process without them.
    """
    require(deis, order=order, variable=variable)
    need_steps(pairs(grid), order + 1, f"DEIS of order {order}")
    if variable == "t":
        stages = multistep(grid, lambda i: min(i, order) + 1, partial(in_time, process))
        return checked(process, stages, "eps")
    scalar = need_scalar(process, f"DEIS in {variable}")
    infinite = variable == "lambda" and bool(scalar.rho(grid[-1]) == 0)
    last = len(grid) - 2 if infinite else len(grid)
    row = partial(in_rho if variable == "rho" else in_lambda, scalar)
    return checked(
        scalar, multistep(grid, lambda i: 1 if i == last else min(i, order) + 1, row), "eps"
    )
