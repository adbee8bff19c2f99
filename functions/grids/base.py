"""Checks on the steps of a time grid, and its last time."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from functions.process import Process


def ending(ascending: list[int], process: Process) -> Tensor:
    """Turn increasing times into a grid that ends at the clean end."""
    return torch.tensor([*ascending[::-1], process.t_end], dtype=torch.float64)


def continuous(process: Process, steps: int, power: float) -> Tensor:
    """Times linear in t^(1/power) on a continuous process, both ends exact."""
    check(process, steps)
    root = np.linspace(process.t_start ** (1 / power), process.t_end ** (1 / power), steps + 1)
    times = torch.from_numpy(root**power)
    times[0], times[-1] = process.t_start, process.t_end
    return times


def check(process: Process, steps: int) -> None:
    """Refuse a number of steps that the process does not have. Raises ValueError."""
    if steps < 1:
        raise ValueError(f"a sampling grid needs at least one step, not {steps}")
    if process.steps is not None and steps > process.steps:
        raise ValueError(f"{steps} sampling steps asked of a process with {process.steps} times")


def discrete(grid: str, process: Process) -> None:
    """Refuse a continuous process. Raises ValueError."""
    if process.steps is None:
        raise ValueError(f"grid {grid} needs discrete times; this process is continuous")
