"""Stages of multistep samplers: predict, and correct if asked."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from functions.plan import Stage
from functions.rows import pairs

Row = Callable[[Tensor, Tensor], tuple[Tensor, list[Tensor]]]


def multistep(
    grid: Tensor,
    depth: Callable[[int], int],
    row: Row,
    corrector: bool = False,
    begin: int = 0,
) -> list[Stage]:
    """Stages of a sampler with one evaluation a step.

    depth(i): number of evaluations that step i uses.
    row(times, s): (A, [B_j]) of the step from times[0] to s with evaluations at `times`, newest
        first.
    corrector: redo every step but the last with the evaluation at its predicted end, which the next
        step then uses; there `row` receives s itself as the last of the times.
    begin: first step that may be corrected.
    """
    times, asked, stages = grid.double().cpu(), list[int](), list[Stage]()
    steps = pairs(grid)
    for i, (t, s) in enumerate(steps):
        correct = corrector and begin <= i and i + 1 < len(steps)
        evaluate = not corrector or i <= begin
        if evaluate:
            asked.append(len(stages))  # asked[i]: the stage that evaluates at times[i]
        use = depth(i)
        known, places = asked[i - use + 1 : i + 1][::-1], times[i - use + 1 : i + 1].flip(0)
        A, B = row(places, s)
        weights = dict(zip(known, B, strict=True))
        stages.append(Stage(float(t), float(s), A, weights, None, evaluate, not correct))
        if correct:
            asked.append(len(stages))
            A, B = row(torch.cat([places, s.view(1)]), s)
            weights = dict(zip([*known, asked[-1]], B, strict=True))
            stages.append(Stage(float(s), float(s), A, weights))
    return stages
