"""Adaptive solver of the probability flow (2011.13456, section 4.3).

It is no plan, because its steps depend on the answers of the network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from functions.basis import ScalarSide, Side, side_of
from functions.plan import Basis, shaped
from functions.process import Process, Scalar, apply
from functions.rows import transfer

# Dormand & Prince 1980, RK5(4)7M: rows lead to the next node, the last to the result of order 5
ROWS = (
    (1 / 5,),
    (3 / 40, 9 / 40),
    (44 / 45, -56 / 15, 32 / 9),
    (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
    (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
    (35 / 384, 0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
)
ERROR = (71 / 57600, 0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40)
MOST = 100_000  # trials of an image before the solver gives up
FINE = 1e-7  # distance over which the slope of a coefficient is taken, as a share of the whole walk


@dataclass(frozen=True)
class Adaptive:
    """A walk from time t to time s on the probability flow of any linear process.

    In every step the root mean square of error/(atol + rtol |x|) over an image stays below 1. A
    step to a time below the training times (the clean end) is DDIM's.
    """

    process: Process
    t: float
    s: float
    rtol: float
    atol: float
    nfe: None = None  # known only after the walk

    @property
    def basis(self) -> Basis:
        """Answers that `predict` gives; see `side_of`."""
        return side_of(self.process, torch.tensor(self.t)).basis

    def __str__(self) -> str:
        return (
            f"probability flow from {self.t:g} to {self.s:g} by Dormand-Prince 5(4), rtol "
            f"{self.rtol:g}, atol {self.atol:g}; every image chooses its own steps"
        )


def solve(
    flow: Adaptive,
    predict: Callable[..., Tensor],
    x: Tensor,
    randn: object = None,
    project: Callable[[Tensor, float], Tensor] | None = None,
    label: Tensor | None = None,
) -> Iterator[Tensor]:
    """Walk from state x (B, C, H, W) and yield the state after every trial; the last is the sample.

    Every image has its own step length, so that it does not depend on its neighbours.

    predict(x, t): answers in `flow.basis` for some rows x (n, C, H, W) at their times t (n,),
        float64; with label (B,) it is called as predict(x, t, label), labels (n,) of these rows.
    randn: not used, there for the call shape of `plan.solve`: nothing is drawn.
    project(x, s): replaces the sample, if given.

    Raises ValueError for an answer of another shape than x, RuntimeError where the answers are not
    finite or an image needs more than 100,000 trials.
    """
    process, device = flow.process, x.device
    ends = torch.tensor([flow.t, max(flow.s, _lowest(process))], dtype=torch.float64)
    flat = _Flat(side_of(process, ends[0]), ends, predict, label)
    begin, end = flat.clock(ends)
    u, v = begin.expand(len(x)).clone(), apply(flat.side.carry(*ends), x)
    h, slope = torch.full_like(u, 0.02 * float(end - begin)), torch.zeros_like(x)
    everything = torch.arange(len(x), device=device)
    new = True  # the first slopes are not known yet
    for _ in range(MOST):
        rows = torch.nonzero(u > end).flatten()
        if not len(rows):
            break
        if new:
            slope, new = flat.slope(v, u, everything), False
        here, at = rows.to(device), u[rows]
        step = torch.maximum(h[rows], end - at)  # steps are negative
        ahead, last, error = _trial(flat, v[here], at, step, slope[here], here)
        size = flat.back(torch.maximum(v[here].abs(), ahead.abs()), at + step)
        ratio = flat.back(error, at + step) / (flow.atol + flow.rtol * size.abs())
        norm = ratio.double().square().flatten(1).mean(1).sqrt().cpu()
        if not norm.isfinite().all():
            raise RuntimeError("the network's answers are not finite on the probability flow")
        fine = norm <= 1
        done, kept = here[fine.to(device)], fine.to(device)
        v[done], slope[done] = ahead[kept], last[kept]  # the last slope is the next step's first
        u[rows[fine]] = torch.where(at + step <= end, end, at + step)[fine]
        h[rows] = step * (0.9 * norm.clamp(min=1e-10) ** -0.2).clamp(0.2, 10.0)
        yield flat.back(v, u)
    else:
        raise RuntimeError(f"more than {MOST} trials: the tolerances cannot be met")
    if flow.s < ends[1]:
        s = torch.tensor(flow.s, dtype=torch.float64)
        A, B = transfer(process, ends[1], s, flow.basis)
        v = apply(A, v) + apply(B, flat.answer(v, ends[1].expand(len(x)), everything))
    yield v if project is None else project(v, flow.s)


@dataclass(frozen=True)
class _Flat:
    """The flow in coordinates v = carry(t, end) x, where it reads dv = dK answer, K = carry gain.

    Its clock u falls with t: t itself, but log(sigma/alpha) on a table, which has kinks in t, and
    the side's own clock where that is finite at both ends (velocity).
    """

    side: Side
    ends: Tensor
    predict: Callable[..., Tensor]
    label: Tensor | None

    @property
    def table(self) -> Scalar | None:
        """The process, if its times are discrete."""
        process = self.side.process
        return process if isinstance(process, Scalar) and process.steps is not None else None

    def answer(self, x: Tensor, t: Tensor, rows: Tensor) -> Tensor:
        """Answers to the states x (n, ...) of these rows at t (n,)."""
        told = [] if self.label is None else [self.label[rows]]
        return shaped(self.predict(x, t.to(x.device), *told), x)

    def clock(self, t: Tensor) -> Tensor:
        """u at times t (n,)."""
        if isinstance(self.side, ScalarSide) and self.side.basis == "velocity":
            return self.side.clock(t)
        return torch.log(self.table.rho(t)) if self.table else t

    def time(self, u: Tensor) -> Tensor:
        """t of u (n,), inside the walk's ends."""
        if isinstance(self.side, ScalarSide) and self.side.basis == "velocity":
            t = self.side.time_of(u)
        else:
            t = self.table.time_of(torch.exp(u)) if self.table else u
        return t.clamp(self.ends[1], self.ends[0])

    def back(self, v: Tensor, u: Tensor) -> Tensor:
        """x from v (n, C, H, W) at u (n,)."""
        return apply(self.side.carry(self.ends[1], self.time(u)), v)

    def slope(self, v: Tensor, u: Tensor, rows: Tensor) -> Tensor:
        """dv/du of these rows."""
        end, begin = sorted(self.clock(self.ends).tolist())
        gap = FINE * (begin - end)
        high, low = (u + gap).clamp(max=begin), (u - gap).clamp(min=end)
        rise = self._transported(high) - self._transported(low)
        K = rise / (high - low)[(..., *[None] * (rise.ndim - 1))]
        return apply(K, self.answer(self.back(v, u), self.time(u), rows))

    def _transported(self, u: Tensor) -> Tensor:
        t = self.time(u)
        return self.side.carry(t, self.ends[1]) @ self.side.gain(t)


def _lowest(process: Process) -> float:
    """Lowest time of training that has noise."""
    low = process.t_train[0]
    if isinstance(process, Scalar) and not process.sigma(torch.tensor(low)):
        return process.levels[1]
    return low


def _trial(
    flat: _Flat, v: Tensor, u: Tensor, h: Tensor, slope: Tensor, rows: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Try one step of length h (n,). Returns the state ahead, the slope there, the error."""
    slopes, length, ahead = [slope], h.to(v).view(-1, *[1] * (v.ndim - 1)), v
    for row in ROWS:
        ahead = v + length * sum(w * k for w, k in zip(row, slopes, strict=True))
        slopes.append(flat.slope(ahead, u + h * sum(row), rows))
    return ahead, slopes[-1], length * sum(w * k for w, k in zip(ERROR, slopes, strict=True))
