"""Time grids that are even in a function of sigma/alpha."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from configs.parts import require
from configs.values import Positive
from functions.grids.base import check_steps
from functions.parts import GRIDS
from functions.process import Process, Scalar
from functions.rows import need_scalar


@GRIDS.part(title="even in (sigma/alpha)^(1/rho)", paper="2206.00364")
def karras(process: Process, steps: int, rho: Positive = 7.0) -> Tensor:
    """Times linear in (sigma/alpha)^(1/rho) (EDM, 2206.00364, eq. 5).

    Where the process ends clean: `steps` times from its first to its last noise level, then the
    clean end. Raises ValueError for rho out of range and for a process without sigma and alpha.
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
    process: Scalar,
    steps: int,
    there: Callable[[Tensor], Tensor],
    back: Callable[[Tensor], Tensor],
) -> Tensor:
    """Times linear in there(sigma/alpha); `back` is the inverse of `there`."""
    check_steps(process, steps)
    ends = torch.tensor(process.levels, dtype=torch.float64)
    first, last = there(process.rho(ends))
    clean = process.t_end < process.levels[1]
    inner = steps - 1 if clean else steps
    share = torch.linspace(0, 1, inner + 1, dtype=torch.float64)
    times = process.time_of(back(torch.lerp(first, last, share)))
    times[0] = process.t_start
    if inner:
        times[-1] = ends[1]
    return torch.cat([times, times.new_tensor([process.t_end])]) if clean else times
