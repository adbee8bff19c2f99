"""gDDIM: DDIM on any linear diffusion."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from annotated_types import Ge, Le
from torch import Tensor

from configs.parts import require
from configs.values import PositiveOrZero
from functions.basis import side_of, silent
from functions.exponential import in_time
from functions.multistep import multistep
from functions.parts import SAMPLERS
from functions.plan import Basis, Plan, Stage
from functions.process import Process
from functions.rows import checked, need_steps, pairs, root


@SAMPLERS.part(
    title="gDDIM: any process, lam, corrector", paper="2206.05564", order="order + 1", nfe="S"
)
def gddim(
    process: Process,
    grid: Tensor,
    order: Annotated[int, Ge(0), Le(3)] = 0,
    lam: PositiveOrZero = 0.0,
    corrector: bool = False,
) -> Plan:
    """gDDIM (2206.05564), one evaluation a step.

    order: degree of the noise estimate in t; with lam 0 this is DEIS in t on any process.
    lam: the process with lam^2 of the reverse SDE's noise and the same marginals (eq. 22, 23), with
        order 0; no noise in the last step.
    corrector: redo each step with the evaluation at the predicted point; with lam 0.

    Raises ValueError for options out of range, lam above 0 with an order, a corrector or CLD's L
    parametrisation, and fewer than order + 1 steps.
    """
    require(gddim, order=order, lam=lam, corrector=corrector)
    if lam > 0:
        if order or corrector:
            raise ValueError(f"lam {lam:g} goes with order 0 and without corrector")
        return _stochastic(process, grid, lam)
    need_steps(pairs(grid), order + 1, f"gDDIM of order {order}")
    side = side_of(process, pairs(grid)[0][0])
    stages = multistep(grid, lambda i: min(i, order) + 1, partial(in_time, side), corrector)
    return checked(process, stages, side.basis)


def _stochastic(process: Process, grid: Tensor, lam: float) -> Plan:
    """Plan of order 0 with lam^2 of the reverse SDE's noise."""
    if process.rate(*pairs(grid)[0]) is not None:
        raise ValueError(f"lam {lam:g} needs CLD's R parametrisation; L goes with lam 0")
    steps, stages = pairs(grid), []
    basis: Basis = "x0" if silent(process, steps[0][0]) else "eps"
    for i, (t, s) in enumerate(steps):
        R_t, R_s = process.factor(t), process.factor(s)
        back = process.reversed(t, s, lam)  # 2206.05564, eq. 22
        drawn = R_s @ R_s.mT - back @ R_t @ R_t.mT @ back.mT  # eq. 23
        C = None if i == len(steps) - 1 else root(drawn)
        A = process.psi(t, s) if basis == "eps" else back
        B = (back - A) @ R_t if basis == "eps" else process.mean(s) - back @ process.mean(t)
        stages.append(Stage(float(t), float(s), A, {i: B}, C))
    return checked(process, stages, basis, stochastic=True)
