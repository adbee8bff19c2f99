"""Times evenly spaced in a power of t."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from configs.parts import require
from configs.values import Positive
from functions.grids.base import check, continuous, ending
from functions.parts import GRIDS
from functions.process import Process


@GRIDS.part(title="the DDIM repository's quad: evenly spaced square roots", paper="2010.02502")
def quad(process: Process, steps: int) -> Tensor:
    """The DDIM repository's `quad`, the distinct times of int(linspace(0, sqrt(0.8 T), steps)^2).

    100 asked gives 96. On a continuous process it is linear in sqrt(t).
    """
    if process.steps is None:
        return continuous(process, steps, power=2)
    check(process, steps)
    times = np.linspace(0, np.sqrt(process.steps * 0.8), steps) ** 2
    return ending(sorted({int(t) for t in times}), process)


@GRIDS.part(title="evenly spaced in t^(1/order)", paper="2204.13902")
def power(process: Process, steps: int, order: Positive = 2.0) -> Tensor:
    """Linear in t^(1/order) (Zhang & Chen 2023, 2204.13902).

    A discrete process gets `steps` fractional times from its last to its first, then the clean end.
    Raises ValueError for order <= 0.
    """
    require(power, order=order)
    if process.steps is None:
        return continuous(process, steps, power=order)
    check(process, steps)
    share = np.linspace(1, 0, steps) if steps > 1 else np.ones(1)
    return torch.from_numpy(np.append(process.t_start * share**order, process.t_end))
