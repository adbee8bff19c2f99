"""DPM-Solver and DPM-Solver++ by single steps, ancestral if asked."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from annotated_types import Ge, Le
from torch import Tensor

from configs.parts import require
from configs.values import Positive, PositiveOrZero
from functions.exponential import InLambda, in_lambda
from functions.parts import SAMPLERS
from functions.plan import Plan, Stage
from functions.process import Process, Scalar
from functions.rows import checked, need_scalar, pairs

INSIDE = {1: (), 2: (1 / 2,), 3: (1 / 3, 2 / 3)}  # where a step asks, in lambda


@SAMPLERS.part(
    title="DPM-Solver(++) single step, DPM-2, ancestral, SDE",
    paper="2206.00927",
    order="order; with eta 1",
    nfe="order (S - 1) + 1; nodes grid: S",
)
def dpm_single(
    process: Process,
    grid: Tensor,
    order: Annotated[int, Ge(1), Le(3)] = 2,
    basis: InLambda = "x0",
    eta: PositiveOrZero = 0.0,
    s_noise: Positive = 1.0,
    sde: bool = False,
    nodes: Literal["own", "grid"] = "own",
    exact: bool = False,
) -> Plan:
    """Single-step DPM-Solver (2206.00927, algorithms 1 and 2) and DPM-Solver++ (2S; 2211.01095,
    algorithm 1): no step uses answers of another one. A step to the clean end, or from a time
    without signal, is of order 1.

    basis: what is interpolated, "x0" (DPM-Solver++) or "eps" (DPM-Solver; order 2 is DPM-2).
    eta: a step ends lower, and noise leads up to its end: eta times that of DDPM's posterior, at
        most all there is. 1 is ancestral; inf renews all noise, as LCM's sampler does.
    s_noise: factor on the noise.
    sde: noise at the node inside a step too, drawn apart (DPM++ SDE).
    nodes: times inside a step at which the network is asked: "own" at 1/2, or 1/3 and 2/3, of the
        step in lambda; "grid": `order` steps of the grid make one, which asks at the times between.
    exact: integrate the polynomial through all answers of a step. As published, order 2 takes the
        midpoint rule, and order 3 the line through its first and its last answer.

    Raises ValueError for options out of range; s_noise or sde without eta; eta with order 3 or with
    nodes grid; eta above 1 with order 2, which would ask below the end of a step; and sde with
    other options than order 2, basis x0 and exact false.
    """
    require(dpm_single, order=order, basis=basis, eta=eta, s_noise=s_noise)
    require(dpm_single, sde=sde, nodes=nodes, exact=exact)
    if eta == 0 and (sde or s_noise != 1):
        raise ValueError("s_noise and sde need eta above 0")
    if eta > 0 and (order == 3 or nodes == "grid"):
        raise ValueError(f"eta {eta:g} goes with order 1 or 2 and with nodes own")
    if eta > 1 and order == 2:
        raise ValueError(f"eta {eta:g} goes with order 1; order 2 takes at most 1")
    if sde and (order, basis, exact) != (2, "x0", False):
        raise ValueError("sde goes with order 2, basis x0 and exact false")
    scalar = need_scalar(process, "DPM-Solver")
    how = _Single(scalar, order, basis, eta, s_noise, sde, nodes == "grid", exact)
    stages = list[Stage]()
    for *places, s in how.blocks(grid) if nodes == "grid" else how.steps(grid):
        stages += how.stages(places, s, len(stages))
    return checked(process, stages, basis, stochastic=eta > 0)


@dataclass(frozen=True)
class _Single:
    """The options of `dpm_single`."""

    process: Scalar
    order: int
    basis: InLambda
    eta: float
    s_noise: float
    sde: bool
    grouped: bool
    exact: bool

    def steps(self, grid: Tensor) -> Iterator[list[Tensor]]:
        """The times of every step: those at which it asks, and its end."""
        for t, s in pairs(grid):
            end = s if self.sde else self.fall(t, s)[0]
            first, last = (torch.log(self.process.rho(time)) for time in (t, end))
            finite = bool((last - first).isfinite())
            inside = [torch.lerp(first, last, w) for w in (INSIDE[self.order] if finite else ())]
            # with eta 1 the node is s, but for rounding
            yield [t, *(torch.maximum(self.process.time_of(u.exp()), s) for u in inside), s]

    def blocks(self, grid: Tensor) -> Iterator[list[Tensor]]:
        """The times of every `order` steps of a grid, fewer at its end; a step to or from an
        infinite lambda stands alone.
        """
        block = list[Tensor]()
        for t, s in pairs(grid):
            block = block or [t]
            alone = not bool(torch.log(self.process.rho(torch.stack([t, s]))).isfinite().all())
            if alone and len(block) > 1:
                yield block
                block = [t]
            block.append(s)
            if alone or len(block) > self.order:
                yield block
                block = []
        if block:
            yield block

    def stages(self, places: Sequence[Tensor], s: Tensor, begin: int) -> Iterator[Stage]:
        """Stages, from number `begin` on, of a step from places[0] to s that asks at `places`."""
        t = places[0]
        for i, end in enumerate([*places[1:], s]):
            last = i == len(places) - 1
            down, C = self.fall(t, end) if last or self.sde else (end, None)
            A, B = self.row(places[: i + 1], down)
            up = self.process.psi(down, end)
            weights = {begin + j: up @ weight for j, weight in B.items()}
            yield Stage(float(places[i]), float(end), up @ A, weights, C, commit=last)

    def row(self, places: Sequence[Tensor], s: Tensor) -> tuple[Tensor, dict[int, Tensor]]:
        """Coefs of the state at places[0] and of the answers at `places`, of a step to s."""
        if len(places) == self.order == 2 and not (self.exact or self.grouped):  # midpoint rule
            A, (B,) = in_lambda(self.process, torch.stack([places[0]]), s, self.basis)
            return A, {1: B}
        use = [*range(len(places))] if self.exact or len(places) < 3 else [0, 2]
        halve = len(places) == 2 and self.grouped and not self.exact
        times = torch.stack([places[j] for j in use])
        A, found = in_lambda(self.process, times, s, self.basis, adapt=_midpoint if halve else None)
        return A, dict(zip(use, found, strict=True))

    def fall(self, t: Tensor, s: Tensor) -> tuple[Tensor, Tensor | None]:
        """Time at which a step from t to s ends before its noise, and the noise's coefficient."""
        rho_t, rho_s = self.process.rho(t), self.process.rho(s)
        if self.eta == 0 or rho_s == 0:
            return s, None
        share = min(1.0, self.eta * math.sqrt(1 - (rho_s / rho_t) ** 2))  # 2010.02502, eq. 16
        down = self.process.time_of(rho_s * math.sqrt(1 - share**2))
        return down, (self.s_noise * share * self.process.sigma(s)).view(1, 1)


def _midpoint(found: list[Tensor], h: Tensor) -> list[Tensor]:
    """Moments of the midpoint rule."""
    return [found[0], found[0] / 2]
