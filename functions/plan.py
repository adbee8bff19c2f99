"""Plans: sampling as a table of linear stages, and `solve`, the one loop that runs a table.

A stage is `x_s = A x_base + sum_j B_j h_j + C z`, where `h_j` is the network's answer at stage j
and `z` is fresh noise. Builders in `functions/samplers` compute the table in float64.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import torch
from torch import Tensor

Basis = Literal["eps", "x0", "velocity"]
Predict = Callable[[Tensor, float], Any]


def apply(coef: Tensor, x: Tensor) -> Tensor:
    """Multiply a state by a coefficient; the result has the shape, dtype and device of x.

    coef: (*batch, *S, k, k), where batch is () or (B,) and S is () or (H, W).
    x: (B, k*C, H, W), the k components of a pixel in k consecutive groups of C channels.
    """
    k = coef.shape[-1]
    if k == 1:
        scale = coef[..., 0, 0]
        if scale.ndim == 0:  # a 0-dim float64 tensor neither promotes x nor needs its device
            return x * scale
        scale = scale.to(x)
        if scale.ndim == 1:
            return x * scale.view(-1, *[1] * (x.ndim - 1))
        return x * (scale if scale.ndim == 2 else scale.unsqueeze(1))
    parts, coef = x.unflatten(1, (k, -1)).unbind(1), coef.to(x)
    if coef.ndim == 3:  # one for every image
        coef = coef[..., None, None, None].movedim(0, 2)
    rows = (sum(c * part for c, part in zip(row, parts, strict=True)) for row in coef)
    return torch.cat(list(rows), 1)  # no matrix product: autocast and TF32 would round it


def accumulate(total: Tensor, coef: Tensor, x: Tensor) -> Tensor:
    """Add coef x to `total` in place: one pass over memory where coef is a number."""
    return total.add_(x, alpha=coef.item()) if coef.numel() == 1 else total.add_(apply(coef, x))


def shaped(answer: Tensor, x: Tensor) -> Tensor:
    """Answer of the network to state x. Raises ValueError for one of another shape than x, which
    would otherwise be broadcast.
    """
    if answer.shape != x.shape:
        raise ValueError(
            f"the network answers {tuple(answer.shape)} to a state {tuple(x.shape)}; the two "
            "should have one shape"
        )
    return answer


@dataclass(frozen=True)
class Stage:
    """One row of a plan: evaluate the network at time t, then move to time s.

    A: coefficient of the state in which the current step began.
    B: {j: coefficient} of the network's answer at stage j, this one or an earlier one.
    C: coefficient of fresh standard normal noise, None where the stage draws none.
    spread: of a learned variance: the noise is C exp(frac spread) z, frac shaped like the state and
        answered by the network beside h (half log(beta/betatilde), 2102.09672, eq. 15).
    evaluate: whether the network is first asked at (current state, t).
    commit: whether the result ends a step: it is yielded, and the next step begins there.
    X: {j: coefficient} of the state in which an earlier step began, at stage j.
    """

    t: float
    s: float
    A: Tensor
    B: dict[int, Tensor] = field(default_factory=dict)
    C: Tensor | None = None
    evaluate: bool = True
    commit: bool = True
    spread: Tensor | None = None
    X: dict[int, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """A checked sequence of stages.

    basis: meaning of the network's answers: "eps" noise, "x0" data, "velocity" noise - data.

    Raises ValueError for stages that contradict each other or are not finite.
    """

    stages: tuple[Stage, ...]
    basis: Basis = "eps"

    def __post_init__(self) -> None:
        if self.basis not in get_args(Basis):
            raise ValueError(f"a plan's basis is eps, x0 or velocity, not {self.basis!r}")
        if not self.stages or not self.stages[-1].commit:
            raise ValueError("a plan needs at least one stage, and its last stage must commit")
        for i, stage in enumerate(self.stages):
            self._check(i, stage)

    def _check(self, i: int, stage: Stage) -> None:
        where = f"stage {i} (t {stage.t:g} -> {stage.s:g})"
        drawn = [] if stage.C is None else [stage.C]
        for coef in (stage.A, *stage.B.values(), *stage.X.values(), *drawn):
            if coef.dtype != torch.float64 or coef.ndim < 2 or coef.shape[-1] != coef.shape[-2]:
                raise ValueError(f"{where}: a coefficient is a float64 tensor (*S, k, k)")
            if not coef.isfinite().all():
                raise ValueError(
                    f"{where}: a coefficient is not finite; the process has no signal or no noise "
                    "left at this time: begin the grid later, or take data as answers (basis x0)"
                )
        for j in stage.B:
            if not 0 <= j <= i or not self.stages[j].evaluate:
                raise ValueError(f"{where}: uses the answer of stage {j}, which does not exist yet")
        for j in stage.X:
            if not 0 <= j < i or (j and not self.stages[j - 1].commit):
                raise ValueError(f"{where}: uses the state at stage {j}, where no step began")
        if stage.spread is not None and (stage.C is None or not stage.evaluate):
            raise ValueError(f"{where}: a learned variance needs noise and an evaluation")
        if i and stage.evaluate and stage.t != self.stages[i - 1].s:
            raise ValueError(f"{where}: the state is at time {self.stages[i - 1].s:g} here")

    @property
    def learned(self) -> bool:
        """Whether the network is to answer its share of the variance too."""
        return any(stage.spread is not None for stage in self.stages)

    @property
    def nfe(self) -> int:
        """Number of network evaluations."""
        return sum(stage.evaluate for stage in self.stages)

    def __str__(self) -> str:
        head = f"{len(self.stages)} stages, {self.nfe} network evaluations, answers as {self.basis}"
        return "\n".join([head, *(_row(i, stage) for i, stage in enumerate(self.stages))])


def _row(i: int, stage: Stage) -> str:
    terms = [f"{_show(stage.A)} x", *(f"{_show(c)} h{j}" for j, c in sorted(stage.B.items()))]
    terms += [f"{_show(c)} x{j}" for j, c in sorted(stage.X.items())]
    if stage.C is not None:
        spread = "" if stage.spread is None else f" exp({_show(stage.spread)} frac)"
        terms.append(f"{_show(stage.C)} z{spread}")
    marks = ("" if stage.evaluate else "  no evaluation") + (
        "" if stage.commit else "  intermediate"
    )
    return f"{i:4d}  {stage.t:>9.4g} -> {stage.s:<9.4g} x = {'  '.join(terms)}{marks}"


def _show(coef: Tensor) -> str:
    if coef.numel() == 1:
        return f"{coef.item():+.6f}"
    if coef.ndim == 2:
        rows = ("[" + " ".join(f"{v:+.4f}" for v in row) + "]" for row in coef.tolist())
        return f"[{' '.join(rows)}]"
    return f"<{coef.min().item():+.4f} .. {coef.max().item():+.4f}>"


def solve(
    plan: Plan,
    predict: Predict,
    x: Tensor,
    randn: Callable[[Tensor], Tensor] = torch.randn_like,
    project: Callable[[Tensor, float], Tensor] | None = None,
    move: Callable[[Tensor, float, Tensor], Tensor] | None = None,
) -> Iterator[Tensor]:
    """Run a plan from state x and yield the state after every committed stage; the last one is the
    sample. dtype and device are those of x.

    predict(x, t): answer of the network in the plan's basis, shaped like x; else ValueError. Under
        a learned variance (`plan.learned`) the pair (answer, frac), both shaped like x.
    randn(x): noise shaped like x, drawn once per stage that has C.
    project(x, s): replaces every new state, if given (inpainting).
    move(x, t, answer): replaces the state in which a step begins, if given, once the network
        answered (clipping that keeps the noise).
    """
    # answers[j] is that at stage j, answers[~j] the state in which stage j's step began
    uses = [{**s.B, **{~j: coef for j, coef in s.X.items()}} for s in plan.stages]
    last_use = {j: i for i, used in enumerate(uses) for j in used}
    base, answers, frac = x, dict[int, Tensor](), None
    for i, stage in enumerate(plan.stages):
        if stage.evaluate:
            answers[i], frac = _asked(predict, x, stage.t, plan.learned)
            if move is not None and x is base:
                base = move(x, stage.t, answers[i])
        if ~i in last_use:
            answers[~i] = base
        x = apply(stage.A, base)
        for j, coef in uses[i].items():
            x = accumulate(x, coef, answers[j])
        if stage.C is not None:
            z = randn(x)
            if stage.spread is not None and frac is not None:
                z = z * torch.exp(apply(stage.spread, frac))
            x = accumulate(x, stage.C, z)
        if project is not None:
            x = project(x, stage.s)
        answers = {j: h for j, h in answers.items() if last_use.get(j, -1) > i}
        if stage.commit:
            base = x
            yield x


def _asked(predict: Predict, x: Tensor, t: float, learned: bool) -> tuple[Tensor, Tensor | None]:
    """Answer of `predict`, and frac where the variance is learned."""
    answer, frac = predict(x, t) if learned else (predict(x, t), None)
    return shaped(answer, x), frac
