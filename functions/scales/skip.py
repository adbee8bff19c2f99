"""The factor that L_skip trains in, for any network."""

from __future__ import annotations

import torch

from configs.values import Count, Share
from functions.loss import SkipNoise, skip_scale
from functions.parts import SCALES
from functions.process import Process
from functions.scales.base import Scale


@SCALES.part(title="the factor that L_skip trains in (training-free S^2-DM)", paper="2401.01520")
def skip(process: Process, k: Count = 9, tau: Share = 0.99, noise: SkipNoise = "fresh") -> Scale:
    """What L_skip of distance k would have trained in, for any network: training-free S^2-DM.

    The factor is `loss.skip_scale` (2401.01520); it raises ValueError as that does.
    """
    most = round(process.t_train[1] / process.index_step)
    if not 1 <= k <= most:
        raise ValueError(f"k is a number of steps from 1 to {most}, not {k}")
    skip_scale(process, torch.zeros(1), k, tau, noise)  # refuses the others now, not while drawing
    return lambda t: skip_scale(process, t, k, tau, noise)
