"""What builders share: the steps of a grid and the checks on it."""

from __future__ import annotations

import torch
from torch import Tensor

from functions.process import Process


def pairs(grid: Tensor) -> list[tuple[Tensor, Tensor]]:
    """The steps (t, s) of a grid (n + 1,), as 0-dim float64 tensors.

    Raises ValueError for a grid that is not strictly decreasing or has fewer than two times.
    """
    times = grid.double().cpu()
    if times.ndim != 1 or len(times) < 2 or not bool((times[1:] < times[:-1]).all()):
        raise ValueError("a sampling grid is at least two times in strictly decreasing order")
    return list(zip(times[:-1], times[1:], strict=True))


def need_scalar(process: Process, what: str) -> None:
    """Refuse a process whose coefficients are not single numbers: `what` is not defined there."""
    if process.factor(torch.tensor(process.t_start)).shape != (1, 1):
        raise ValueError(f"{what} is defined for the variance-preserving processes only")
