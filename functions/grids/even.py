"""Evenly spaced times."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from functions.grids.base import check, continuous, discrete, ending
from functions.parts import GRIDS
from functions.process import Process


@GRIDS.part(title="evenly spaced times", paper="")
def uniform(process: Process, steps: int) -> Tensor:
    """Evenly spaced: floor(i T / steps) on a discrete process, linear on a continuous one.

    Equal to the DDIM repository's `uniform` whenever steps divides T.
    """
    if process.steps is None:
        return continuous(process, steps, power=1)
    check(process, steps)
    return ending([i * process.steps // steps for i in range(steps)], process)


@GRIDS.part(title="the DDIM repository's uniform: T // steps apart", paper="2010.02502")
def ddim_uniform(process: Process, steps: int) -> Tensor:
    """The DDIM repository's `uniform`, range(0, T, T // steps).

    More than `steps` times where steps does not divide T: 30 gives 31, 300 gives 334.
    """
    discrete("ddim_uniform", process)
    check(process, steps)
    assert process.steps is not None
    return ending(list(range(0, process.steps, process.steps // steps)), process)


@GRIDS.part(title="evenly spaced from the last time: begins at pure noise", paper="2305.08891")
def trailing(process: Process, steps: int) -> Tensor:
    """Evenly spaced and counted from the last time: begins at pure noise (Lin et al. 2305.08891).

    round(T - i T/steps) - 1, their table 2; linear on a continuous process.
    """
    if process.steps is None:
        return continuous(process, steps, power=1)
    check(process, steps)
    times = np.round(process.steps - np.arange(steps) * process.steps / steps) - 1
    return ending([int(t) for t in times[::-1]], process)
