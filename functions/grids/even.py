"""Evenly spaced time grids."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from functions.grids.base import check_steps, continuous, ending
from functions.parts import GRIDS
from functions.process import Process


@GRIDS.part(title="evenly spaced, floor(i T/steps)", paper="")
def uniform(process: Process, steps: int) -> Tensor:
    """Evenly spaced times: floor(i T / steps) on a discrete process, linear on a continuous one.

    Equal to `uniform` of the DDIM repository whenever steps divides T.
    """
    check_steps(process, steps)
    if process.steps is None:
        return continuous(process, steps, power=1)
    return ending([i * process.steps // steps for i in reversed(range(steps))], process)


@GRIDS.part(title="evenly spaced, the DDIM repository's uniform", paper="2010.02502")
def ddim_uniform(process: Process, steps: int) -> Tensor:
    """Times range(0, T, T // steps) of the DDIM repository's `uniform`.

    More than `steps` times where steps does not divide T: 30 gives 31, 300 gives 334. Raises
    ValueError for a continuous process.
    """
    if process.steps is None:
        raise ValueError("grid ddim_uniform needs discrete times; this process is continuous")
    check_steps(process, steps)
    return ending(reversed(range(0, process.steps, process.steps // steps)), process)


@GRIDS.part(title="evenly spaced from the last time: begins at pure noise", paper="2305.08891")
def trailing(process: Process, steps: int) -> Tensor:
    """Evenly spaced times counted from the last one, so that sampling begins at pure noise:
    round(T - i T/steps) - 1 (2305.08891, table 2); linear on a continuous process.
    """
    check_steps(process, steps)
    if process.steps is None:
        return continuous(process, steps, power=1)
    times = np.round(process.steps - np.arange(steps) * process.steps / steps) - 1
    return ending([int(t) for t in times], process)
