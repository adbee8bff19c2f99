"""Time grids that are even in a root of t."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from configs.parts import require
from configs.values import Positive
from functions.grids.base import check_steps, continuous, ending
from functions.parts import GRIDS
from functions.process import Process


@GRIDS.part(title="even in the root of t, the DDIM repository's", paper="2010.02502")
def quad(process: Process, steps: int) -> Tensor:
    """Distinct times of int(linspace(0, sqrt(0.8 T), steps)^2), the DDIM repository's `quad`.

    Fewer than `steps` times where some coincide: 100 gives 96. On a continuous process it is linear
    in sqrt(t).
    """
    check_steps(process, steps)
    if process.steps is None:
        return continuous(process, steps, power=2)
    times = np.linspace(0, np.sqrt(process.steps * 0.8), steps) ** 2
    return ending(sorted({int(t) for t in times}, reverse=True), process)


@GRIDS.part(title="even in t^(1/order)", paper="2204.13902")
def power(process: Process, steps: int, order: Positive = 2.0) -> Tensor:
    """Times linear in t^(1/order) (2204.13902).

    A discrete process gets `steps` fractional times from its last to its first, then the clean end.
    Raises ValueError for an order out of range.
    """
    require(power, order=order)
    check_steps(process, steps)
    if process.steps is None:
        return continuous(process, steps, power=order)
    share = np.linspace(1, 0, steps) if steps > 1 else np.ones(1)
    return torch.from_numpy(np.append(process.t_start * share**order, process.t_end))
