"""Time grids that are even in a function of sigma/alpha."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from configs.parts import require
from configs.values import Positive
from functions.grids.base import check_steps
from functions.parts import GRIDS
from functions.process import Process, VariancePreserving
from functions.rows import need_scalar


@GRIDS.part(title="even in (sigma/alpha)^(1/rho)", paper="2206.00364")
def karras(process: Process, steps: int, rho: Positive = 7.0) -> Tensor:
    """Times linear in (sigma/alpha)^(1/rho) (EDM, 2206.00364, eq. 5).

    A discrete process gets `steps` fractional times from its last to its first, then the clean end.
    Raises ValueError for rho out of range and for a process without sigma and alpha.
    """
    require(karras, rho=rho)
    return _even(
        need_scalar(process, "grid karras"),
        steps,
        lambda noise: noise ** (1 / rho),
        lambda u: u**rho,
    )


@GRIDS.part(title="even in log(alpha/sigma)", paper="2206.00927")
def logsnr(process: Process, steps: int) -> Tensor:
    """Times linear in log(alpha/sigma) (DPM-Solver, 2206.00927); ends as `karras` does."""
    return _even(need_scalar(process, "grid logsnr"), steps, torch.log, torch.exp)


def _even(
    process: VariancePreserving,
    steps: int,
    there: Callable[[Tensor], Tensor],
    back: Callable[[Tensor], Tensor],
) -> Tensor:
    """Times linear in there(sigma/alpha); `back` is the inverse of `there`."""
    check_steps(process, steps)
    ends = torch.tensor([process.t_start, process.t_end], dtype=torch.float64)
    if process.steps is not None:
        ends[1] = 0.0  # the clean end has no finite log(alpha/sigma)
    first, last = there(process.rho(ends))
    inner = steps if process.steps is None else steps - 1
    share = torch.linspace(0, 1, inner + 1, dtype=torch.float64)
    times = process.time_of(back(torch.lerp(first, last, share)))
    times[0] = ends[0]
    if inner:
        times[-1] = ends[1]
    return times if process.steps is None else torch.cat([times, times.new_tensor([process.t_end])])
