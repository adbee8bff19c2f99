"""Classical methods on the probability flow in t itself, without its exact linear part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from configs.parts import require
from configs.values import OneOf
from functions.basis import side_of
from functions.parts import SAMPLERS
from functions.plan import Basis, Plan, Stage
from functions.process import Process, Scalar
from functions.rows import need_steps, pairs
from functions.samplers.pndm import ADAMS
from functions.samplers.runge_kutta import TABLEAUX, Rows

METHODS = {**TABLEAUX, "fon": TABLEAUX["rk4"]}


@SAMPLERS.part(
    title="classical Runge-Kutta in t; FON",
    paper="2202.09778",
    order="1 to 4",
    nfe="nodes (S - 1) + 1; fon: S + 9",
    aliases={"fon": "fon"},
)
def classical(
    process: Process, grid: Tensor, method: Annotated[str, OneOf(METHODS)] = "heun"
) -> Plan:
    """Runge-Kutta methods on dx/dt = F x + G G^T R^-T eps/2 (2011.13456, eq. 13) in t: what the
    pseudo-numerical and exponential methods are compared with. heun is EDM's general solver with
    the scale and noise of the process (2206.00364, algorithm 1).

    method: a tableau, with one evaluation in the step to the clean end, or "fon": three steps of
        rk4, then linear multistep with weights of order 4 on the slopes (FON in 2202.09778), which
        assume equal steps. Raises ValueError for another one, and for fon with fewer than 4 steps.
    """
    require(classical, method=method)
    steps, stages = pairs(grid), list[Stage]()
    flow = _Flow(process, side_of(process, steps[0][0]).basis)
    if method == "fon":
        need_steps(steps, 4, "FON")
    begun = list[int]()  # first stages of the steps, newest first
    for i, (t, s) in enumerate(steps):
        begun.insert(0, len(stages))
        if method == "fon" and i >= 3:
            stages.append(_multistep(flow, steps[i - 3 : i + 1], begun[:4]))
        else:
            rows = METHODS[method] if process.factor(s).any() else TABLEAUX["euler"]
            stages += _step(flow, t, s, len(stages), rows)
    return Plan(tuple(stages), flow.basis)


@dataclass(frozen=True)
class _Flow:
    """Slope of the probability flow, dx/dt = own x + other answer."""

    process: Process
    basis: Basis

    def slope(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """The coefs (own, other) at t."""
        process = self.process
        if self.basis == "velocity" and isinstance(process, Scalar):
            alpha, sigma = process.alpha(t), process.sigma(t)
            of_alpha, of_sigma = process.slopes(t)  # dx/dt = alpha' x0 + sigma' noise
            own = (of_alpha + of_sigma) / (alpha + sigma)
            other = (of_sigma * alpha - of_alpha * sigma) / (alpha + sigma)
            return own[..., None, None], other[..., None, None]
        inverse = torch.linalg.inv(self.process.factor(t))
        return self.process.drift(t), self.process.diffusion(t) @ inverse.mT / 2


def _step(flow: _Flow, t: Tensor, s: Tensor, first: int, rows: Rows) -> list[Stage]:
    """Stages, from number `first` on, of one Runge-Kutta step from t to s."""
    one = torch.eye(flow.process.factor(t).shape[-1], dtype=torch.float64)
    h, here, stages, slopes = s - t, t, list[Stage](), list[dict[int, Tensor]]()
    state = {-1: one}  # as a sum of the state at t (-1) and of answers
    for i, row in enumerate(rows):
        own, other = flow.slope(here)
        slopes.append({j: own @ coef for j, coef in state.items()} | {first + i: other})
        state = {-1: one}
        for weight, slope in zip(row, slopes, strict=True):
            for j, coef in slope.items():
                state[j] = state.get(j, torch.zeros_like(coef)) + weight * h * coef
        last = i == len(rows) - 1
        there = s if last else t + sum(row) * h
        B = {j: coef for j, coef in state.items() if j >= 0 and coef.any()}
        stages.append(Stage(float(here), float(there), state[-1], B, commit=last))
        here = there
    return stages


def _multistep(flow: _Flow, steps: Sequence[tuple[Tensor, Tensor]], begun: Sequence[int]) -> Stage:
    """The stage of one step with the slopes at the last four times; begun: the first stages of the
    steps that began there, newest first.
    """
    t, s = steps[-1]
    A, B, X = torch.zeros(1, 1, dtype=torch.float64), dict[int, Tensor](), dict[int, Tensor]()
    for weight, j, (time, _) in zip(ADAMS[3], begun, reversed(steps), strict=True):
        own, other = flow.slope(time)
        B[j] = weight * (s - t) * other
        if j == begun[0]:
            A = torch.eye(own.shape[-1], dtype=torch.float64) + weight * (s - t) * own
        else:
            X[j] = weight * (s - t) * own
    return Stage(float(t), float(s), A, B, X=X)
