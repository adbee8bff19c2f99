"""DEIS: Zhang & Chen 2023 (2204.13902), exponential Adams-Bashforth in three variables."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from functions.exponential import in_lambda, in_rho, in_time
from functions.plan import Plan, Stage
from functions.process import Process
from functions.samplers.rows import checked, need_choice, need_scalar, need_steps, pairs

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
    steps, stages = pairs(grid), []
    need_steps(steps, order + 1, f"DEIS of order {order}")
    for i, (t, s) in enumerate(steps):
        degree = min(i, order)
        if variable == "t":
            A, B = in_time(process, _last(grid, i, degree), s)
        else:
            scalar = need_scalar(process, f"DEIS in {variable}")
            if variable == "rho":
                A, B = in_rho(scalar, _last(grid, i, degree), s)
            else:
                degree = degree if scalar.rho(s) > 0 else 0
                A, B = in_lambda(scalar, _last(grid, i, degree), s)
        stages.append(Stage(float(t), float(s), A, {i - j: b for j, b in enumerate(B)}))
    return checked(process, stages, "eps")


def _last(grid: Tensor, i: int, degree: int) -> Tensor:
    """Times of the newest evaluation, i, and of `degree` before it, newest first."""
    return grid[i - degree : i + 1].flip(0).double().cpu()
