"""Losses from the variational bound: `hybrid` and `kl`."""

from __future__ import annotations

import weakref

import torch
from torch import Tensor

from functions.chain import Chain
from functions.denoiser import Answer, Denoiser
from functions.likelihood import step_bits
from functions.loss.base import squared_error
from functions.parts import LOSSES
from functions.process import Process
from functions.rows import need_preserving

_CHAINS: weakref.WeakKeyDictionary[Process, dict[torch.device, Chain]]
_CHAINS = weakref.WeakKeyDictionary()  # tables of the whole chain, where losses are computed


def check(process: Process, **options: object) -> None:
    """Raise ValueError for a process without a chain of discrete times and numbers, and for a noise
    schedule that leaves no signal at its last time, where no network tells the clean image.
    """
    scalar = need_preserving(process, "the variational bound")
    if process.steps is None:
        raise ValueError("the variational bound needs discrete times; this process is continuous")
    if not scalar.alpha(torch.tensor(process.t_train[1])):
        raise ValueError(
            "the variational bound needs some signal at the last time; this noise schedule has none"
        )


def bound(
    denoiser: Denoiser, x0: Tensor, t: Tensor, noise: Tensor, clip: float | None = None
) -> Tensor:
    """Term of the variational bound at t (B,), in bits per dimension, (B,): the chain of all times,
    with the denoiser's variance (2102.09672, eq. 4 to 6).

    clip: bound of the predicted clean image. Raises ValueError as `check` does, and for times that
    are not whole or lie outside of the chain.
    """
    check(denoiser.process)
    if not torch.compiler.is_compiling() and t.device.type == "cpu":
        low, high = denoiser.process.t_train
        if bool(((t != t.floor()) | (t < low) | (t > high)).any()):
            raise ValueError(f"times of the bound are whole numbers from {low:g} to {high:g}")
    x = denoiser.process.perturb(x0, t, noise)
    return _term(denoiser, x0, x, t, denoiser.ask(x, t), clip)


@LOSSES.part(
    title="squared error and a learned variance",
    paper="2102.09672",
    check=check,
    learned="must",
)
def hybrid(
    denoiser: Denoiser,
    x0: Tensor,
    t: Tensor,
    noise: Tensor,
    rescaled: bool = True,
    weight: Tensor | None = None,
) -> Tensor:
    """L_hybrid (2102.09672, eq. 16): the squared error of the prediction, plus the term of the
    bound, whose mean is detached so that it trains the variance only.

    rescaled: multiply the term by T/1000, so that its share does not depend on the number of times
    T (`rescale_learned_sigmas` of guided-diffusion). weight: factor on the squared error only
    (B,), as P2's code has it.
    """
    x = denoiser.process.perturb(x0, t, noise)
    asked = denoiser.ask(x, t)
    plain = squared_error(asked.prediction, denoiser.target(x0, noise, t))
    plain = plain if weight is None else weight * plain
    term = _term(denoiser, x0, x, t, Answer(asked.prediction.detach(), asked.v), None)
    return plain + term * (_steps(denoiser.process) / 1000 if rescaled else 1)


@LOSSES.part(
    title="variational bound",
    paper="2102.09672",
    compares="eps",
    check=check,
    learned="may",
)
def kl(denoiser: Denoiser, x0: Tensor, t: Tensor, noise: Tensor) -> Tensor:
    """L_vlb (2102.09672, eq. 4): T times the term at t, whose mean over uniform t is the bound in
    bits per dimension without the constant term of the prior.
    """
    return bound(denoiser, x0, t, noise) * _steps(denoiser.process)


def _term(
    denoiser: Denoiser, x0: Tensor, x: Tensor, t: Tensor, asked: Answer, clip: float | None
) -> Tensor:
    steps, process = _steps(denoiser.process), need_preserving(denoiser.process, "the bound")
    kept = _CHAINS.setdefault(process, {})
    if x.device not in kept:
        grid = torch.arange(steps - 1, -2, -1, dtype=torch.float64)
        kept[x.device] = Chain.over(process, grid).to(x.device)
    return step_bits(denoiser, kept[x.device], steps - 1 - t.long(), x0, x, asked, clip)


def _steps(process: Process) -> int:
    check(process)
    assert process.steps is not None
    return process.steps
