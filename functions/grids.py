"""Sampling times: (process, steps) -> decreasing float64 times, the last one the clean end."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from functions.process import Process


def uniform(process: Process, steps: int) -> Tensor:
    """`steps` times evenly spaced: floor(i T / steps) on a discrete process, linear otherwise.

    Equal to the DDIM repository's `uniform` whenever steps divides T.
    """
    if process.steps is None:
        return _continuous(process, steps, power=1)
    _check(process, steps)
    return _ending([i * process.steps // steps for i in range(steps)], process)


def ddim_uniform(process: Process, steps: int) -> Tensor:
    """The DDIM repository's `uniform`, range(0, T, T // steps): more than `steps` times where steps
    does not divide T (30 gives 31, 300 gives 334).
    """
    _discrete("ddim_uniform", process)
    _check(process, steps)
    assert process.steps is not None
    return _ending(list(range(0, process.steps, process.steps // steps)), process)


def quad(process: Process, steps: int) -> Tensor:
    """The DDIM repository's `quad`, int(linspace(0, sqrt(0.8 T), steps)^2), distinct times only
    (100 asked gives 96); on a continuous process, linear in sqrt(t).
    """
    if process.steps is None:
        return _continuous(process, steps, power=2)
    _check(process, steps)
    times = np.linspace(0, np.sqrt(process.steps * 0.8), steps) ** 2
    return _ending(sorted({int(t) for t in times}), process)


def _ending(ascending: list[int], process: Process) -> Tensor:
    return torch.tensor([*ascending[::-1], process.t_end], dtype=torch.float64)


def _continuous(process: Process, steps: int, power: float) -> Tensor:
    _check(process, steps)
    root = np.linspace(process.t_start ** (1 / power), process.t_end ** (1 / power), steps + 1)
    times = torch.from_numpy(root**power)
    times[0], times[-1] = process.t_start, process.t_end
    return times


def _check(process: Process, steps: int) -> None:
    if steps < 1:
        raise ValueError(f"a sampling grid needs at least one step, not {steps}")
    if process.steps is not None and steps > process.steps:
        raise ValueError(f"{steps} sampling steps asked of a process with {process.steps} times")


def _discrete(grid: str, process: Process) -> None:
    if process.steps is None:
        raise ValueError(f"grid {grid} needs discrete times; this process is continuous")


GRIDS: dict[str, Callable[..., Tensor]] = {
    "uniform": uniform,
    "quad": quad,
    "ddim_uniform": ddim_uniform,
}
