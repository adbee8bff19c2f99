"""DEIS: Zhang & Chen 2023 (2204.13902), exponential Adams-Bashforth in three variables."""

from __future__ import annotations

from functools import partial
from typing import Literal

from torch import Tensor

from functions.exponential import in_lambda, in_rho, in_time
from functions.multistep import multistep
from functions.plan import Plan
from functions.process import Process
from functions.rows import checked, need_choice, need_scalar, need_steps, pairs

VARIABLES = ("t", "rho", "lambda")


def deis(
    process: Process,
    grid: Tensor,
    order: int = 3,
    variable: Literal["t", "rho", "lambda"] = "t",
) -> Plan:
    """One evaluation a step; the noise estimate is a polynomial of degree `order` (0 to 3) in
    `variable` through the last evaluations: t is tAB, rho is rhoAB, lambda is multistep DPM-Solver.
    Order 0 is DDIM. The degree grows with the history; in lambda the step to the clean end, where
    lambda is infinite, has degree 0. Raises ValueError for another order or variable, fewer than
    order + 1 steps, and for rho and lambda on a process without them.
    """
    need_choice("variable", variable, VARIABLES)
    need_choice("order", order, range(4))
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
