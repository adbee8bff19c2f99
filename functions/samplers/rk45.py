"""RK45: the probability flow with an adaptive step."""

from __future__ import annotations

from torch import Tensor

from configs.parts import require
from configs.values import Positive
from functions.adaptive import Adaptive
from functions.basis import silent
from functions.parts import SAMPLERS
from functions.process import Process
from functions.rows import pairs, transfer


@SAMPLERS.part(
    title="probability flow, adaptive RK45",
    paper="2011.13456",
    order="5",
    nfe="as many as it needs",
    adaptive=True,
)
def rk45(process: Process, grid: Tensor, rtol: Positive = 1e-5, atol: Positive = 1e-5) -> Adaptive:
    """Dormand-Prince 5(4) on the probability flow (2011.13456, section 4.3), from the first to the
    last time of a grid.

    Raises ValueError for tolerances out of range, for CLD's L parametrisation, and from a discrete
    time without signal: between it and the time before no noise level is defined.
    """
    require(rk45, rtol=rtol, atol=atol)
    steps = pairs(grid)
    if process.steps is not None and silent(process, steps[0][0]):
        raise ValueError(
            f"rk45 cannot begin at t = {steps[0][0]:g}, where this noise schedule has no signal: "
            "no noise level lies between it and the time before; take another sampler"
        )
    transfer(process, *steps[0])  # refuses a process whose factor does not solve its flow
    return Adaptive(process, float(steps[0][0]), float(steps[-1][1]), rtol, atol)
