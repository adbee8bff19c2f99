"""UniPC: multistep predictor-corrector in lambda = log(alpha/sigma)."""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Ge, Le
from torch import Tensor

from configs.parts import require
from functions.basis import silent
from functions.exponential import InLambda, in_lambda
from functions.multistep import multistep
from functions.parts import SAMPLERS
from functions.plan import Plan
from functions.process import Process
from functions.rows import checked, need_scalar, need_steps, pairs


@SAMPLERS.part(title="UniPC", paper="2302.04867", order="order + 1 (with corrector)", nfe="S")
def unipc(
    process: Process,
    grid: Tensor,
    order: Annotated[int, Ge(1), Le(3)] = 3,
    variant: Literal["bh2", "bh1"] = "bh2",
    corrector: bool = True,
    basis: InLambda = "x0",
) -> Plan:
    """UniPC (2302.04867), one evaluation a step: a multistep predictor of `order`, and a corrector
    of one order more that uses the evaluation at the predicted point. The order grows with the
    history and falls in the last steps; the last step is not corrected.

    variant: the paper's B(h). It matters where the paper takes a shortcut, in the predictor of
        order 2 and the corrector of order 1; elsewhere it cancels.
    basis: what is interpolated.

    Raises ValueError for options out of range and fewer steps than the order.
    """
    require(unipc, order=order, variant=variant, corrector=corrector, basis=basis)
    scalar, steps = need_scalar(process, "UniPC"), pairs(grid)
    need_steps(steps, order, f"UniPC of order {order}")

    def row(times: Tensor, s: Tensor) -> tuple[Tensor, list[Tensor]]:
        def shortcut(found: list[Tensor], h: Tensor) -> list[Tensor]:
            if len(found) != 2:
                return found
            scale = scalar.alpha(s) if basis == "x0" else -scalar.sigma(s)
            return [found[0], found[0] / 2 if variant == "bh2" else (scale * h / 2).view(1, 1)]

        return in_lambda(scalar, times, s, basis, adapt=shortcut)

    begin = int(silent(process, steps[0][0]))  # an evaluation without a finite lambda

    def depth(i: int) -> int:
        return min(order, max(i + 1 - begin, 1), len(steps) - i)

    stages = multistep(grid, depth, row, corrector, begin)
    return checked(scalar, stages, basis)
