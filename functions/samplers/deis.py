"""DEIS: exponential Adams-Bashforth."""

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
from functions.process import Process, VariancePreserving
from functions.rows import checked, need_scalar, need_steps, pairs

LONG = 2.0  # a last step that is so many times as long in lambda as the one before it


@SAMPLERS.part(title="DEIS tAB, rhoAB, lambda", paper="2204.13902", order="order + 1", nfe="S")
def deis(
    process: Process,
    grid: Tensor,
    order: Annotated[int, Ge(0), Le(3)] = 3,
    variable: Literal["t", "rho", "lambda"] = "t",
    lower_order_final: bool | None = None,
) -> Plan:
    """DEIS (2204.13902), one evaluation a step: the noise estimate is a polynomial of degree
    `order` in `variable` through the last evaluations. Degree 0 is DDIM; the degree grows with the
    history.

    variable: t is tAB, rho is rhoAB, lambda is multistep DPM-Solver. In lambda the step to the
        clean end, where lambda is infinite, has degree 0.
    lower_order_final: in lambda, degrees 2, 1 and 0 in the last steps with a finite lambda, as in
        diffusers. None: with order 2 and 3, where the last of these steps is more than twice as
        long in lambda as the one before it. On a uniform grid it is 3 to 5 times as long, and the
        extrapolation over it has weights of +-7, which is worse than DDIM. Lowering does not help
        with order 1 at 5 or at 50 and more steps, nor on grids that are nearly even in lambda
        (logsnr, karras).

    Raises ValueError for options out of range, fewer than order + 1 steps, lower_order_final
    without lambda, and for rho and lambda on a process without them.
    """
    require(deis, order=order, variable=variable, lower_order_final=lower_order_final)
    need_steps(pairs(grid), order + 1, f"DEIS of order {order}")
    if lower_order_final is not None and variable != "lambda":
        raise ValueError("lower_order_final belongs to variable lambda; it should be null here")
    if variable == "t":
        stages = multistep(grid, lambda i: min(i, order) + 1, partial(in_time, process))
        return checked(process, stages, "eps")
    scalar = need_scalar(process, f"DEIS in {variable}")
    if variable == "rho":
        stages = multistep(grid, lambda i: min(i, order) + 1, partial(in_rho, scalar))
        return checked(scalar, stages, "eps")
    finite = len(grid) - 1 - int(scalar.rho(grid[-1]) == 0)  # steps with a finite lambda
    lower = order > 1 and _long(scalar, grid, finite)
    lower = lower if lower_order_final is None else lower_order_final

    def depth(i: int) -> int:
        use = min(i, order) + 1
        return 1 if i == finite else min(use, finite - i) if lower else use

    return checked(scalar, multistep(grid, depth, partial(in_lambda, scalar)), "eps")


def _long(process: VariancePreserving, grid: Tensor, finite: int) -> bool:
    """Whether the last of the first `finite` steps is long in lambda beside the one before it."""
    before, last = process.rho(grid[finite - 2 : finite + 1].double().cpu()).log().diff()
    return bool(last < LONG * before)  # both are negative
