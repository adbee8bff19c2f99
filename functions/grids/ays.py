"""Align Your Steps: noise levels that were optimised for large models."""

from __future__ import annotations

from typing import Annotated

import numpy as np
import torch
from torch import Tensor

from configs.parts import require
from configs.values import OneOf
from functions.grids.base import check_steps
from functions.parts import GRIDS
from functions.process import Process
from functions.rows import need_scalar

# sigma/alpha at 0, 1/10, ..., 1 of a walk: table 3 of the paper
LEVELS = {
    "sd15": (14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152, 0.029),
    "sdxl": (14.615, 6.315, 3.771, 2.181, 1.342, 0.862, 0.555, 0.380, 0.234, 0.113, 0.029),
    "deepfloyd": (160.41, 8.081, 3.315, 1.885, 1.207, 0.785, 0.553, 0.293, 0.186, 0.030, 0.006),
    "svd": (700.0, 54.5, 15.886, 7.977, 4.248, 1.789, 0.981, 0.403, 0.173, 0.034, 0.002),
}


@GRIDS.part(title="noise levels of Align Your Steps", paper="2404.14507")
def ays(process: Process, steps: int, table: Annotated[str, OneOf(LEVELS)] = "sd15") -> Tensor:
    """Times at the noise levels sigma/alpha of a published table of 10 steps, for other numbers of
    steps interpolated in the logarithm (2404.14507); the ends are those of the process.

    table: of Stable Diffusion 1.5, SDXL, DeepFloyd-IF or Stable Video Diffusion. Raises ValueError
        for another one, and for a process whose noise does not cover these levels.
    """
    require(ays, table=table)
    check_steps(process, steps)
    scalar = need_scalar(process, "grid ays")
    places = np.linspace(0, 10, steps + 1)[1:-1]
    levels = torch.from_numpy(np.exp(np.interp(places, np.arange(11), np.log(LEVELS[table]))))
    ends = torch.tensor([process.t_start, process.t_last], dtype=torch.float64)
    most, least = scalar.rho(ends).tolist()
    if steps > 1 and not least < levels[-1] <= levels[0] < most:
        raise ValueError(
            f"ays:{table} with {steps} steps has noise levels sigma/alpha from {levels[0]:.3g} to "
            f"{levels[-1]:.3g}, which should lie between those of the process, {most:.3g} and "
            f"{least:.3g}"
        )
    return torch.cat([ends[:1], scalar.time_of(levels), ends.new_tensor([process.t_end])])
