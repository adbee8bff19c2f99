"""Shifted times of flow matching."""

from __future__ import annotations

from torch import Tensor

from configs.parts import require
from configs.values import Positive
from functions.basis import silent
from functions.grids.base import check_steps
from functions.grids.even import trailing
from functions.parts import GRIDS
from functions.process import Process
from functions.rows import need_scalar


@GRIDS.part(title="even in t, then noise levels times a shift: SD3", paper="2403.03206")
def shifted(process: Process, steps: int, shift: Positive = 3.0) -> Tensor:
    """Evenly spaced times u, each moved to `shift` times its noise level sigma/alpha: on flow
    t = shift u/(1 + (shift - 1) u) (2403.03206, eq. 23). A shift above 1 spends more steps at high
    noise, as larger images need: sqrt(pixels / pixels of the images that shift 1 suits).

    The first and the last time stay. Raises ValueError for a shift out of range, and for a process
    whose first time has a signal: a shift would lead beyond its noisiest time.
    """
    require(shifted, shift=shift)
    check_steps(process, steps)
    scalar = need_scalar(process, "grid shifted")
    if not silent(process, process.t_start):
        raise ValueError("grid shifted needs a process that begins without signal, such as flow")
    times = trailing(process, steps)
    times[1:-1] = scalar.time_of(shift * scalar.rho(times[1:-1]))
    return times
