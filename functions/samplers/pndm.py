"""Pseudo-numerical methods: classical multistep weights on the row of DDIM."""

from __future__ import annotations

from typing import Annotated

import torch
from annotated_types import Ge, Le
from torch import Tensor

from configs.parts import require
from functions.basis import side_of
from functions.parts import SAMPLERS
from functions.plan import Plan, Stage
from functions.process import Process
from functions.rows import checked, need_steps, pairs, transfer

# Adams-Bashforth on equal steps, orders 1 to 4, newest evaluation first.
ADAMS = (
    (1.0,),
    (3 / 2, -1 / 2),
    (23 / 12, -16 / 12, 5 / 12),
    (55 / 24, -59 / 24, 37 / 24, -9 / 24),
)


class _Table:
    """A growing list of stages; every stage is the row of DDIM on a weighted estimate of the
    noise (of the velocity, in a walk from a time without signal)."""

    def __init__(self, process: Process, begin: Tensor, shifted: bool = False) -> None:
        self.process, self.shifted = process, shifted
        self.basis = side_of(process, begin).basis
        self.stages: list[Stage] = []
        self.history: list[int] = []  # stages whose answers are remembered, newest first

    def add(self, t: Tensor, s: Tensor, begin: Tensor, weights: dict[int, float], **marks) -> None:
        """Add a stage: evaluate at t, move from `begin`, where the step began, to s."""
        A, B = transfer(self.process, self._index(begin), self._index(s), self.basis)
        weighted = {j: weight * B for j, weight in weights.items()}
        self.stages.append(Stage(float(t), float(s), A, weighted, **marks))

    def multistep(self, t: Tensor, s: Tensor, order: int) -> None:
        """Add one step with the weights of `order`, lower where the history is shorter."""
        self.history.insert(0, len(self.stages))
        weights = ADAMS[min(order, len(self.history)) - 1]
        self.add(t, s, t, dict(zip(self.history, weights, strict=False)))

    def plan(self) -> Plan:
        """Plan of all stages so far."""
        if self.shifted:  # its rows belong to other times than its stages, so no check fits
            return Plan(tuple(self.stages), self.basis)
        return checked(self.process, self.stages, self.basis)

    def _index(self, t: Tensor) -> Tensor:
        return torch.floor(t) + 1 if self.shifted else t


@SAMPLERS.part(title="S-PNDM", paper="2202.09778", order="2", nfe="S + 1")
def s_pndm(process: Process, grid: Tensor, shifted: bool = False) -> Plan:
    """S-PNDM (2202.09778): the first step is an improved Euler step of two evaluations, the others
    weigh the last two noise estimates. The weights assume equal steps.

    shifted: move with abar[t + 1] while the network is asked at t, and so end at abar[0], as the
        authors' code does; for comparisons only.

    Raises ValueError for fewer than 2 steps.
    """
    steps = pairs(grid)
    table = _Table(process, steps[0][0], shifted)
    need_steps(steps, 2, "S-PNDM")
    t, s = steps[0]
    table.add(t, s, t, {0: 1.0}, commit=False)
    table.add(s, s, t, {0: 1 / 2, 1: 1 / 2})
    table.history = [0]
    for t, s in steps[1:]:
        table.multistep(t, s, 2)
    return table.plan()


@SAMPLERS.part(title="F-PNDM", paper="2202.09778", order="2", nfe="S + 9")
def f_pndm(process: Process, grid: Tensor, shifted: bool = False) -> Plan:
    """F-PNDM (2202.09778): three Runge-Kutta steps of four evaluations, of which the first is
    remembered, then linear multistep with weights of order 4. The weights assume equal steps.

    shifted: see `s_pndm`. Raises ValueError for fewer than 4 steps.
    """
    steps = pairs(grid)
    table = _Table(process, steps[0][0], shifted)
    need_steps(steps, 4, "F-PNDM")
    for t, s in steps[:3]:
        middle, i = (t + s) / 2, len(table.stages)
        table.add(t, middle, t, {i: 1.0}, commit=False)
        table.add(middle, middle, t, {i + 1: 1.0}, commit=False)
        table.add(middle, s, t, {i + 2: 1.0}, commit=False)
        table.add(s, s, t, {i: 1 / 6, i + 1: 1 / 3, i + 2: 1 / 3, i + 3: 1 / 6})
        table.history.insert(0, i)
    for t, s in steps[3:]:
        table.multistep(t, s, 4)
    return table.plan()


@SAMPLERS.part(title="iPNDM", paper="2204.13902", order="2", nfe="S")
def ipndm(process: Process, grid: Tensor, order: Annotated[int, Ge(1), Le(4)] = 4) -> Plan:
    """iPNDM (2204.13902): F-PNDM without its warm-up, one evaluation a step. The weights assume
    equal steps.

    order: of the weights; it grows with the history. Raises ValueError for an order out of range
    or fewer steps than the order.
    """
    require(ipndm, order=order)
    steps = pairs(grid)
    table = _Table(process, steps[0][0])
    need_steps(steps, order, f"iPNDM of order {order}")
    for t, s in steps:
        table.multistep(t, s, order)
    return table.plan()
