"""Runge-Kutta in rho = sigma/alpha, where the probability flow reads d(x/alpha) = eps d rho."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import torch
from torch import Tensor

from configs.parts import require
from configs.values import OneOf, Positive, PositiveOrZero
from functions.basis import ScalarSide, scalar_side_of, side_of
from functions.parts import SAMPLERS
from functions.plan import Plan, Stage
from functions.process import Process, Scalar
from functions.rows import checked, need_scalar, pairs, transfer

# rows[i] has the weights that lead to node i + 1, the last row ends the step; nodes are row sums
Rows = tuple[tuple[float, ...], ...]
TABLEAUX: dict[str, Rows] = {
    "euler": ((1,),),
    "midpoint": ((1 / 2,), (0, 1)),
    "heun": ((1,), (1 / 2, 1 / 2)),
    "kutta3": ((1 / 2,), (-1, 2), (1 / 6, 2 / 3, 1 / 6)),
    "ralston3": ((1 / 2,), (0, 3 / 4), (2 / 9, 1 / 3, 4 / 9)),
    "heun3": ((1 / 3,), (0, 2 / 3), (1 / 4, 0, 3 / 4)),
    "van_der_houwen3": ((8 / 15,), (1 / 4, 5 / 12), (1 / 4, 0, 3 / 4)),
    "ssp3": ((1,), (1 / 4, 1 / 4), (1 / 6, 1 / 6, 2 / 3)),
    "rk4": ((1 / 2,), (0, 1 / 2), (0, 0, 1), (1 / 6, 1 / 3, 1 / 3, 1 / 6)),
}


@SAMPLERS.part(
    title="DEIS rhoRK",
    paper="2204.13902",
    order="1 to 4",
    nfe="nodes S; to clean data nodes (S - 1) + 1",
)
def rho_rk(
    process: Process, grid: Tensor, tableau: Annotated[str, OneOf(TABLEAUX)] = "heun"
) -> Plan:
    """DEIS rhoRK (2204.13902): as many evaluations a step as the tableau has nodes, but one in the
    step to the clean end, where the network cannot be asked. Raises ValueError for an unknown
    tableau.
    """
    require(rho_rk, tableau=tableau)
    steps, stages = pairs(grid), list[Stage]()
    side = scalar_side_of(need_scalar(process, "rhoRK"), steps[0][0])
    for t, s in steps:
        _step(stages, side, t, s, TABLEAUX[tableau])
    return checked(process, stages, side.basis)


@SAMPLERS.part(
    title="EDM's Heun with churn; DPM-2 and Euler",
    paper="2206.00364",
    order="2; step euler: 1",
    nfe="2S; to clean data 2S - 1; step euler: S",
)
def heun(
    process: Process,
    grid: Tensor,
    churn: PositiveOrZero = 0.0,
    s_min: PositiveOrZero = 0.0,
    s_max: PositiveOrZero = math.inf,
    s_noise: Positive = 1.0,
    step: Literal["heun", "dpm2", "euler"] = "heun",
) -> Plan:
    """Heun's method in rho = sigma/alpha, with churn (EDM, 2206.00364, algorithm 2), two
    evaluations a step, one in a step to clean data.

    churn: noise that is added before a step, up to rho (1 + min(churn/steps, sqrt(2) - 1)) and
        never beyond the process' first time of sampling. A churned step yields twice: the noised
        state and its end.
    s_min, s_max: interval of rho in which churn acts.
    s_noise: factor on the added noise.
    step: "heun"; "dpm2" moves with the answer at the geometric middle in rho (DPM-Solver-2);
        "euler" with the first answer, as does dpm2 from a time without signal.

    Raises ValueError for options out of range, s_min above s_max, and s_min, s_max or s_noise
    without churn.
    """
    require(heun, churn=churn, s_min=s_min, s_max=s_max, s_noise=s_noise, step=step)
    if s_min > s_max or (churn == 0 and (s_min, s_max, s_noise) != (0.0, math.inf, 1.0)):
        raise ValueError("s_min, s_max and s_noise need churn above 0, and s_min <= s_max")
    steps, stages = pairs(grid), list[Stage]()
    gain, basis = 1 + min(churn / len(steps), math.sqrt(2) - 1), side_of(process, steps[0][0]).basis
    for t, s in steps:
        if churn > 0 and s_min <= need_scalar(process, "churn").rho(t) <= s_max:
            t = _churned(stages, need_scalar(process, "churn"), t, gain, s_noise)
        i = len(stages)
        A, B = transfer(process, t, s, basis)
        middle = _middle(need_scalar(process, "step dpm2"), t, s) if step == "dpm2" else s
        if step == "euler" or not process.factor(s).any() or middle == t:
            stages.append(Stage(float(t), float(s), A, {i: B}))
            continue
        there, of_answer = transfer(process, t, middle, basis)
        stages.append(Stage(float(t), float(middle), there, {i: of_answer}, commit=False))
        weights = {i + 1: B} if step == "dpm2" else {i: B / 2, i + 1: B / 2}
        stages.append(Stage(float(middle), float(s), A, weights))
    return checked(process, stages, basis)


def _middle(process: Scalar, t: Tensor, s: Tensor) -> Tensor:
    """Time at the geometric mean of two noise levels; t where its own is infinite."""
    level = torch.sqrt(process.rho(t) * process.rho(s))
    return process.time_of(level) if level.isfinite() else t


def _churned(
    stages: list[Stage], process: Scalar, t: Tensor, gain: float, s_noise: float
) -> Tensor:
    """Append the stage that adds noise at t, if there is room. Returns the time it leads to."""
    rho, most = process.rho(t), process.rho(torch.tensor(process.t_start, dtype=torch.float64))
    raised = torch.minimum(gain * rho, most)
    if raised <= rho:
        return t
    up = process.time_of(raised)
    C = (s_noise * process.alpha(up) * torch.sqrt(raised**2 - rho**2)).view(1, 1)
    stages.append(Stage(float(t), float(up), process.psi(t, up), C=C, evaluate=False))
    return up


def _step(stages: list[Stage], side: ScalarSide, t: Tensor, s: Tensor, rows: Rows) -> None:
    """Append one Runge-Kutta step from t to s, or the step of DDIM where s is the clean end."""
    first, here = len(stages), t
    if not side.process.sigma(s):
        A, gain = side.transfer(t, s)
        stages.append(Stage(float(t), float(s), A, {first: gain}))
        return
    begin = side.clock(t)
    h = side.clock(s) - begin
    for i, row in enumerate(rows):
        last = i == len(rows) - 1
        there = s if last or sum(row) == 1 else side.time_of(begin + sum(row) * h)
        B = {first + j: (w * h * side.scale(there)).view(1, 1) for j, w in enumerate(row) if w}
        stages.append(Stage(float(here), float(there), side.carry(t, there), B, commit=last))
        here = there
