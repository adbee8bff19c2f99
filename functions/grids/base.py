"""Checks and helpers that time grids share."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from functions.process import Process


def check_steps(process: Process, steps: int) -> None:
    """Raise ValueError for fewer than one step, or more than a discrete process has times."""
    if steps < 1:
        raise ValueError(f"a time grid needs at least one step, not {steps}")
    if process.steps is not None and steps > process.steps:
        raise ValueError(f"{steps} sampling steps asked of a process with {process.steps} times")


def ending(descending: Iterable[int], process: Process) -> Tensor:
    """Grid of some discrete times and the end of sampling."""
    return torch.tensor([*descending, process.t_end], dtype=torch.float64)


def continuous(process: Process, steps: int, power: float) -> Tensor:
    """Grid of a continuous process, linear in t^(1/power). Where a network can be asked down to a
    time above the end only: `steps` times down to there, then the end.
    """
    last, clean = process.t_last, process.t_end < process.t_last
    root = np.linspace(
        process.t_start ** (1 / power), last ** (1 / power), steps if clean else steps + 1
    )
    times = torch.from_numpy(root**power)
    times[0], end = process.t_start, times.new_tensor([process.t_end])
    if len(times) > 1:
        times[-1] = last  # exact after the rounding of the power
    return torch.cat([times, end]) if clean else times
