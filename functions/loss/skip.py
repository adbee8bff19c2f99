"""L_skip of S^2-DM, and its closed form."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from configs.parts import require
from configs.values import Count, Positive, Share
from functions.denoiser import Denoiser
from functions.loss.base import mse
from functions.parts import LOSSES
from functions.process import Process, apply
from functions.rows import need_scalar

SkipNoise = Literal["fresh", "shared", "closed_form"]


def _fits(process: Process, skip: int, **_options: object) -> None:
    """Refuse what L_skip is not defined for. Raises ValueError."""
    need_scalar(process, "L_skip")
    most = round(process.t_train[1] / process.index_step)
    if skip > most:
        raise ValueError(f"skip {skip} should be below {most + 1}, the number of diffusion steps")


def _clamps(process: Process, skip: int, c_max: float, **_options: object) -> str:
    begin = clamped_from(process, skip, c_max)
    if begin is None:
        return ""
    return (
        f"L_skip: c_t is clamped to {c_max:g} for t >= {begin:g}: this noise schedule is too steep "
        f"for skip {skip}"
    )


@LOSSES.part(title="L_skip of S^2-DM", paper="2401.01520", check=_fits, warn=_clamps)
def skip(
    denoiser: Denoiser,
    x0: Tensor,
    t: Tensor,
    noise: Tensor,
    skip: Count = 9,
    tau: Share = 0.99,
    skip_noise: SkipNoise = "fresh",
    c_max: Positive = 10.0,
) -> Tensor:
    """L_skip of S^2-DM (2401.01520): tau |eps - f|^2 + (1 - tau) |e2 - c_t f|^2 where t >= skip,
    the plain loss where t < skip, f the predicted noise.

    skip: distance in discrete steps; tau in [0, 1]. skip_noise: e2 is drawn anew ("fresh", the
    released code), is the noise itself ("shared", the paper's text), or its expectation is taken
    ("closed_form": the mean over fresh e2, so the same gradient on average, without its variance).
    c_max bounds c_t on schedules that destroy the signal within one skip (see `skip_coefficient`).
    """
    if not torch.compiler.is_compiling():
        _require(skip, tau, skip_noise)
    eps = denoiser.raw_eps(denoiser.process.perturb(x0, t, noise), t)
    plain = mse(eps, noise)
    c = skip_coefficient(denoiser.process, t, skip, c_max).to(x0)
    if skip_noise == "closed_form":  # E |e2 - c f|^2 = 1 + c^2 |f|^2 per pixel
        ahead = 1 + c**2 * eps.square().flatten(1).mean(1)
    else:
        e2 = noise if skip_noise == "shared" else torch.randn_like(noise)
        ahead = mse(apply(c[:, None, None], eps), e2)
    return torch.where(_reaches(denoiser.process, t, skip), tau * plain + (1 - tau) * ahead, plain)


def skip_coefficient(process: Process, t: Tensor, skip: int, c_max: float = 10.0) -> Tensor:
    """c_t = sqrt(1 - a)/sqrt(a), a = abar_t / abar_max(t - skip, 0), float64, shaped like t.

    Where c_t > c_max it is set to c_max: on a cosine schedule c_t^2 reaches 1e5 at the last times,
    and one such sample would outweigh all others. Raises ValueError for a process whose
    coefficients are not numbers.
    """
    need_scalar(process, "L_skip")
    back = (t.double() - skip * process.index_step).clamp(min=0.0)
    a = process.psi(back, t)[..., 0, 0] ** 2
    return (torch.sqrt(1 - a) / torch.sqrt(a)).clamp(max=c_max)


def skip_scale(
    process: Process,
    t: Tensor,
    skip: int = 9,
    tau: float = 0.99,
    skip_noise: SkipNoise = "fresh",
    c_max: float = 10.0,
) -> Tensor:
    """The factor on E[eps | x_t] that minimises the expected L_skip at time t; float64, like t.

    fresh and closed_form: tau / (tau + (1 - tau) c^2), a shrinkage; shared: (tau + (1 - tau) c) /
    (tau + (1 - tau) c^2), which enlarges where c < 1. Exactly 1 where t < skip.
    """
    _require(skip, tau, skip_noise)
    c = skip_coefficient(process, t, skip, c_max)
    gain = tau + (1 - tau) * c if skip_noise == "shared" else torch.full_like(c, tau)
    factor = gain / (tau + (1 - tau) * c**2)
    return torch.where(_reaches(process, t, skip), factor, torch.ones_like(factor))


def clamped_from(process: Process, skip: int, c_max: float = 10.0) -> float | None:
    """The first training time at which c_t is clamped to c_max, None where it never is."""
    low, high = process.t_train
    times = torch.linspace(low, high, process.steps or 1000, dtype=torch.float64)
    beyond = skip_coefficient(process, times, skip, float("inf")) > c_max
    return float(times[beyond][0]) if beyond.any() else None


def _reaches(process: Process, t: Tensor, skip: int) -> Tensor:
    return t >= skip * process.index_step


def _require(distance: int, tau: float, skip_noise: str) -> None:
    require(skip, skip=distance, tau=tau, skip_noise=skip_noise)
