"""Times evenly spaced in a function of the noise level."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from configs.parts import require
from configs.values import Positive
from functions.grids.base import check
from functions.parts import GRIDS
from functions.process import Process, VariancePreserving


@GRIDS.part(title="evenly spaced in (sigma/alpha)^(1/rho)", paper="2206.00364")
def karras(process: Process, steps: int, rho: Positive = 7.0) -> Tensor:
    """Linear in (sigma/alpha)^(1/rho), as EDM (Karras et al. 2022, 2206.00364, equation 5).

    A discrete process gets `steps` fractional times from its last to its first, then the clean end.
    Raises ValueError for rho <= 0 and for a process without sigma and alpha.
    """
    require(karras, rho=rho)
    return _by_noise(process, steps, lambda noise: noise ** (1 / rho), lambda u: u**rho)


@GRIDS.part(title="evenly spaced in log(alpha/sigma)", paper="2206.00927")
def logsnr(process: Process, steps: int) -> Tensor:
    """Linear in log(alpha/sigma), as DPM-Solver (2206.00927); ends as `karras` does."""
    return _by_noise(process, steps, torch.log, torch.exp)


def _by_noise(
    process: Process,
    steps: int,
    there: Callable[[Tensor], Tensor],
    back: Callable[[Tensor], Tensor],
) -> Tensor:
    """Times linear in there(sigma/alpha)."""
    check(process, steps)
    if not isinstance(process, VariancePreserving):
        raise ValueError("grids karras and logsnr need a variance-preserving process")
    ends = torch.tensor([process.t_start, process.t_end], dtype=torch.float64)
    if process.steps is not None:
        ends[1] = 0.0
    first, last = there(process.rho(ends))
    inner = steps if process.steps is None else steps - 1
    share = torch.linspace(0, 1, inner + 1, dtype=torch.float64)
    times = process.time_of(back(torch.lerp(first, last, share)))
    times[0] = ends[0]
    if inner:
        times[-1] = ends[1]
    return times if process.steps is None else torch.cat([times, times.new_tensor([process.t_end])])
