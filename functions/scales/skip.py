"""Training-free S^2-DM."""

from __future__ import annotations

from torch import Tensor

from configs.parts import require
from configs.values import Count, Share
from functions.loss import SkipNoise, skip_scale
from functions.parts import SCALES
from functions.process import Process
from functions.rows import need_preserving
from functions.scales.base import Scale


@SCALES.part(title="training-free S^2-DM: the noise L_skip converges to", paper="2401.01520")
def skip(process: Process, k: Count = 9, tau: Share = 0.99, noise: SkipNoise = "fresh") -> Scale:
    """Scale of the predicted noise that training with L_skip converges to; see docs/l_skip.md.

    k: skip distance in discrete steps. tau, noise: see `functions.loss.skip`. Raises ValueError
    for options out of range and for a process whose coefficients are not numbers.
    """
    require(SCALES.parts["skip"], k=k, tau=tau, noise=noise)
    need_preserving(process, "eps scale skip")
    most = round(process.t_train[1] / process.index_step)
    if k > most:
        raise ValueError(f"k {k} is not valid; it should be from 1 to {most}, in discrete steps")

    def scale(t: Tensor) -> Tensor:
        return skip_scale(process, t, k, tau, noise)

    return scale
