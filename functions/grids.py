"""Sampling times: (process, steps) -> decreasing float64 times, the last one the clean end."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from functions.process import Process, VariancePreserving


def uniform(process: Process, steps: int) -> Tensor:
    """Evenly spaced: floor(i T / steps) on a discrete process, linear on a continuous one.

    Equal to the DDIM repository's `uniform` whenever steps divides T.
    """
    if process.steps is None:
        return _continuous(process, steps, power=1)
    _check(process, steps)
    return _ending([i * process.steps // steps for i in range(steps)], process)


def ddim_uniform(process: Process, steps: int) -> Tensor:
    """The DDIM repository's `uniform`, range(0, T, T // steps).

    More than `steps` times where steps does not divide T: 30 gives 31, 300 gives 334.
    """
    _discrete("ddim_uniform", process)
    _check(process, steps)
    assert process.steps is not None
    return _ending(list(range(0, process.steps, process.steps // steps)), process)


def quad(process: Process, steps: int) -> Tensor:
    """The DDIM repository's `quad`, the distinct times of int(linspace(0, sqrt(0.8 T), steps)^2).

    100 asked gives 96. On a continuous process it is linear in sqrt(t).
    """
    if process.steps is None:
        return _continuous(process, steps, power=2)
    _check(process, steps)
    times = np.linspace(0, np.sqrt(process.steps * 0.8), steps) ** 2
    return _ending(sorted({int(t) for t in times}), process)


def trailing(process: Process, steps: int) -> Tensor:
    """Evenly spaced and counted from the last time: begins at pure noise (Lin et al. 2305.08891).

    round(T - i T/steps) - 1, their table 2; linear on a continuous process.
    """
    if process.steps is None:
        return _continuous(process, steps, power=1)
    _check(process, steps)
    times = np.round(process.steps - np.arange(steps) * process.steps / steps) - 1
    return _ending([int(t) for t in times[::-1]], process)


def power(process: Process, steps: int, order: float = 2.0) -> Tensor:
    """Linear in t^(1/order) (Zhang & Chen 2023, 2204.13902).

    A discrete process gets `steps` fractional times from its last to its first, then the clean end.
    Raises ValueError for order <= 0.
    """
    _positive("order", order)
    if process.steps is None:
        return _continuous(process, steps, power=order)
    _check(process, steps)
    share = np.linspace(1, 0, steps) if steps > 1 else np.ones(1)
    return torch.from_numpy(np.append(process.t_start * share**order, process.t_end))


def karras(process: Process, steps: int, rho: float = 7.0) -> Tensor:
    """Linear in (sigma/alpha)^(1/rho), as EDM (Karras et al. 2022, 2206.00364, equation 5).

    A discrete process gets `steps` fractional times from its last to its first, then the clean end.
    Raises ValueError for rho <= 0 and for a process without sigma and alpha.
    """
    _positive("rho", rho)
    return _by_noise(process, steps, lambda noise: noise ** (1 / rho), lambda u: u**rho)


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
    _check(process, steps)
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


def _positive(name: str, value: float) -> None:
    if not value > 0:
        raise ValueError(f"{name} of a grid should be above 0, not {value:g}")


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
    "trailing": trailing,
    "power": power,
    "karras": karras,
    "logsnr": logsnr,
}
