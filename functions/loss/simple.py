"""L_simple of DDPM: the squared error of the network."""

from __future__ import annotations

from torch import Tensor

from functions.denoiser import Denoiser
from functions.loss.base import squared_error
from functions.parts import LOSSES


@LOSSES.part("simple", title="squared error of the network", paper="2006.11239")
def mse(denoiser: Denoiser, x0: Tensor, t: Tensor, noise: Tensor) -> Tensor:
    """Mean squared error of the network against its target (2006.11239, eq. 14)."""
    answer = denoiser(denoiser.process.perturb(x0, t, noise), t)
    return squared_error(answer, denoiser.target(x0, noise, t))


simple = mse
