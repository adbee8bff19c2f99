"""DDIM inversion: from data along the probability flow to the state from which sampling leads back.

2010.02502, section 5.4; 2206.05564 for CLD and blur.
"""

from __future__ import annotations

from torch import Tensor

from functions.plan import Plan, Stage
from functions.process import Process
from functions.rows import pairs, transfer


def inversion(process: Process, grid: Tensor) -> Plan:
    """Plan that walks a time grid of sampling backwards, from lift(data) at its last time to its
    first, in eps.

    It is the row of DDIM from s to t with the mean of the evaluations at both ends (Heun's method,
    so that the error falls with the square of the steps). A step takes two evaluations, the first
    one only one, at the lowest time of training. Raises ValueError for a grid that does not
    decrease, and CLD's L parametrisation.
    """
    stages = list[Stage]()
    for i, (t, s) in enumerate(reversed(pairs(grid))):
        A, B = transfer(process, s, t)
        first = len(stages)
        asked = max(float(s), process.t_train[0])
        two = i > 0 or asked == float(s)
        stages.append(Stage(asked, float(t), A, {first: B}, commit=not two))
        if two:
            stages.append(Stage(float(t), float(t), A, {first: B / 2, first + 1: B / 2}))
    return Plan(tuple(stages), "eps")
