"""DEIS: exponential Adams-Bashforth."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Annotated, Literal

from annotated_types import Ge, Le
from torch import Tensor

from configs.parts import require
from functions.basis import ScalarSide, scalar_side_of, side_of
from functions.exponential import InLambda, in_clock, in_lambda, in_time
from functions.multistep import multistep
from functions.parts import SAMPLERS
from functions.plan import Plan
from functions.process import Process
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
    history. From a time without signal it is the estimate of the velocity eps - x0, in lambda that
    of the data.

    variable: t is tAB, rho is rhoAB (sigma/(alpha + sigma) for the velocity), lambda is multistep
        DPM-Solver. A step to or from an infinite lambda has degree 0.
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
    steps = pairs(grid)
    need_steps(steps, order + 1, f"DEIS of order {order}")
    if lower_order_final is not None and variable != "lambda":
        raise ValueError("lower_order_final belongs to variable lambda; it should be null here")
    if variable == "t":
        flow = side_of(process, steps[0][0])
        stages = multistep(grid, lambda i: min(i, order) + 1, partial(in_time, flow))
        return checked(process, stages, flow.basis)
    side = scalar_side_of(need_scalar(process, f"DEIS in {variable}"), steps[0][0])
    row = partial(in_clock, side)
    if variable == "lambda":
        basis: InLambda = "eps" if side.basis == "eps" else "x0"
        side, row = ScalarSide(side.process, basis), partial(in_lambda, side.process, basis=basis)
    stages = multistep(grid, _depth(side, grid, order, variable, lower_order_final), row)
    return checked(process, stages, side.basis)


def _depth(
    side: ScalarSide, grid: Tensor, order: int, variable: str, lower: bool | None
) -> Callable[[int], int]:
    """Number of evaluations that step i uses, in rho or lambda."""
    clock = side.clock(grid.double().cpu())
    place = clock.log() if variable == "lambda" else clock
    begin = int(not place[0].isfinite())  # evaluations without a place in the polynomial
    finite = len(grid) - 1 - int(not place[-1].isfinite())  # steps with a finite end
    if variable == "rho":
        lower = False
    elif lower is None:
        before, last = place[finite - 2 : finite + 1].diff().abs()
        lower = order > 1 and bool(last > LONG * before)

    def depth(i: int) -> int:
        use = max(min(i - begin, order) + 1, 1)
        return 1 if i == finite else min(use, finite - i) if lower else use

    return depth
