"""L_skip of S^2-DM; see docs/l_skip.md."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from configs.parts import require
from configs.values import Count, Positive, Share
from functions.denoiser import Denoiser
from functions.loss.base import squared_error
from functions.parts import LOSSES
from functions.process import Process, apply
from functions.rows import need_preserving

SkipNoise = Literal["fresh", "shared", "closed_form"]


def check(process: Process, skip: int, **options: object) -> None:
    """Raise ValueError for a process without numbers as coefficients, and for a skip distance that
    reaches beyond the whole process, where L_skip is the plain loss.
    """
    need_preserving(process, "L_skip")
    steps = process.steps or round(process.t_train[1] / process.index_step)
    if not 1 <= skip < steps:
        raise ValueError(
            f"skip {skip} is not valid; it should be at least 1 and below {steps}, the number of "
            "diffusion steps"
        )


def warn(process: Process, skip: int, c_max: float, **options: object) -> str:
    """Line that says where c_t is clamped; "" where it never is."""
    begin = clamped_from(process, skip, c_max)
    if begin is None:
        return ""
    return (
        f"L_skip: c_t is clamped to {c_max:g} for t >= {begin:g}: this noise schedule is too steep "
        f"for skip {skip}"
    )


@LOSSES.part(title="L_skip of S^2-DM", paper="2401.01520", compares="eps", check=check, warn=warn)
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
    """L_skip (2401.01520): tau |eps - f|^2 + (1 - tau) |e2 - c_t f|^2 where t >= skip, the plain
    loss where t < skip; f is the predicted noise.

    skip: distance in discrete steps.
    tau: weight of the plain loss.
    skip_noise: e2 is drawn anew ("fresh", the released code), is the noise itself ("shared", the
        paper's text), or its expectation is taken ("closed_form": the mean over fresh e2, with the
        same gradient on average and without its variance).
    c_max: upper bound of c_t, see `skip_coefficient`.
    """
    _require(skip, tau, skip_noise, c_max)
    eps = denoiser.raw_eps(denoiser.process.perturb(x0, t, noise), t)
    plain = squared_error(eps, noise)
    c = skip_coefficient(denoiser.process, t, skip, c_max).to(x0)
    if skip_noise == "closed_form":  # E |e2 - c f|^2 = 1 + c^2 |f|^2 per pixel
        ahead = 1 + c**2 * eps.square().flatten(1).mean(1)
    else:
        e2 = noise if skip_noise == "shared" else torch.randn_like(noise)
        ahead = squared_error(apply(c[:, None, None], eps), e2)
    return torch.where(_reaches(denoiser.process, t, skip), tau * plain + (1 - tau) * ahead, plain)


def skip_coefficient(process: Process, t: Tensor, skip: int, c_max: float = 10.0) -> Tensor:
    """c_t = sqrt(1 - a)/sqrt(a), a = abar_t / abar_max(t - skip, 0), float64, shaped like t; at
    most c_max.

    Without the bound one sample could outweigh all others: on a cosine schedule c_t^2 reaches 1e5
    at the last times. Raises ValueError for a process whose coefficients are not numbers.
    """
    need_preserving(process, "L_skip")
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
    """Factor on E[eps | x_t] that minimises the expected L_skip at time t, float64, shaped like t.

    fresh and closed_form: tau / (tau + (1 - tau) c^2), a shrinkage. shared: (tau + (1 - tau) c) /
    (tau + (1 - tau) c^2), which enlarges where c < 1. Exactly 1 where t < skip.
    """
    _require(skip, tau, skip_noise, c_max)
    c = skip_coefficient(process, t, skip, c_max)
    gain = tau + (1 - tau) * c if skip_noise == "shared" else torch.full_like(c, tau)
    factor = gain / (tau + (1 - tau) * c**2)
    return torch.where(_reaches(process, t, skip), factor, torch.ones_like(factor))


def clamped_from(process: Process, skip: int, c_max: float = 10.0) -> float | None:
    """First training time at which c_t is clamped to c_max, None where it never is."""
    low, high = process.t_train
    times = torch.linspace(low, high, process.steps or 1000, dtype=torch.float64)
    beyond = skip_coefficient(process, times, skip, float("inf")) > c_max
    return float(times[beyond][0]) if beyond.any() else None


def _reaches(process: Process, t: Tensor, skip: int) -> Tensor:
    return t >= skip * process.index_step


def _require(skip: int, tau: float, skip_noise: str, c_max: float) -> None:
    if not torch.compiler.is_compiling():
        part = LOSSES.parts["skip"]
        require(part, skip=skip, tau=tau, skip_noise=skip_noise, c_max=c_max)
