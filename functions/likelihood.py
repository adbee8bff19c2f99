"""Variational bound of the likelihood, in bits per dimension: nats / (log 2 * values of an image).

Images are 8-bit: data in [-1, 1] in steps of 2/255.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from configs.values import Positive
from functions.chain import Chain, along
from functions.clips import Clip
from functions.denoiser import Answer, Denoiser
from functions.rows import need_preserving

LEAST = 1e-12  # probability of a bin, as the published models have it


@dataclass(frozen=True)
class Bits:
    """A bound for each image in bits per dimension. prior (B,): of the state where the chain
    begins; terms (B, S): of every step, in the order of the grid; total (B,): their sum.
    """

    prior: Tensor
    terms: Tensor

    @property
    def total(self) -> Tensor:
        """The bound, (B,)."""
        return self.prior + self.terms.sum(1)


def log_likelihood_8bit(x: Tensor, mean: Tensor, log_scale: Tensor, exact: bool = False) -> Tensor:
    """Log-probability in nats of 8-bit values x in [-1, 1] under a normal distribution that is
    integrated over the bin of each value; the outermost bins reach to infinity (2006.11239, eq.
    13). Shaped like x, mean and log_scale together.

    exact: the normal distribution function by erf; else its approximation by tanh, which published
    figures were made with.
    """
    cdf = torch.special.ndtr if exact else _tanh_cdf
    centred, slope = x - mean, torch.exp(-log_scale)
    above, below = cdf(slope * (centred + 1 / 255)), cdf(slope * (centred - 1 / 255))
    inside = torch.where(x > 0.999, 1 - below, above - below)
    return torch.log(torch.where(x < -0.999, above, inside).clamp(min=LEAST))


def bits_per_dimension(
    denoiser: Denoiser,
    x0: Tensor,
    grid: Tensor,
    randn: Callable[[Tensor], Tensor],
    clip: Positive | None = None,
    exact: bool = False,
) -> Bits:
    """Bound the likelihood of images x0 (B, C, H, W) by the chain over a time grid that ends at
    clean data (2006.11239, eq. 5; 2102.09672, eq. 4 to 7), one evaluation a step.

    randn: draws noise shaped like its argument, once a step in the order of the grid. clip: bound
    of the predicted clean image. exact: see `log_likelihood_8bit`. The variance of a step is the
    denoiser's. Raises ValueError for a grid that ends elsewhere, and for a process whose
    coefficients are not numbers.
    """
    process = need_preserving(denoiser.process, "the variational bound")
    chain, terms = Chain.over(process, grid), []
    if chain.posterior[-1]:
        raise ValueError(f"the bound needs a grid that ends at clean data, not t = {chain.s[-1]:g}")
    for row, t in enumerate(chain.t):
        x = process.perturb(x0, t.expand(len(x0)).to(x0.device), randn(x0))
        asked = denoiser.ask(x, float(t))
        terms.append(step_bits(denoiser, chain, row, x0, x, asked, clip, exact))
    first = chain.t[0]
    mean, log_var = process.alpha(first).to(x0) * x0, 2 * torch.log(process.sigma(first)).to(x0)
    return Bits(_bits(_kl(mean, log_var, torch.zeros_like(log_var))), torch.stack(terms, 1))


def step_bits(
    denoiser: Denoiser,
    chain: Chain,
    row: Tensor | int,
    x0: Tensor,
    x: Tensor,
    asked: Answer,
    clip: float | None = None,
    exact: bool = False,
) -> Tensor:
    """Term of the bound, (B,) in bits per dimension, of steps `row` of a chain, an index or (B,):
    KL(q(x_s | x_t, x0) || p(x_s | x_t)), and -log p(x0 | x_t) by the 8-bit decoder where the chain
    ends. x0, x: data and x_t (B, C, H, W); asked: the network's answer at x.
    """
    t = float(chain.t[row]) if isinstance(row, int) else chain.t[row]
    clean = denoiser.clean_of(x, asked.prediction, t)
    clean = clean if clip is None else denoiser.clipped(clean, Clip(clip))
    of_x0, of_x, true = (along(c[row], x) for c in (chain.of_x0, chain.of_x, chain.log_posterior))
    log_var = chain.log_variance(denoiser.variance, asked.v, row)
    log_var = log_var if log_var.ndim == x.ndim else along(log_var, x)
    kl = _bits(_kl(of_x0 * (x0 - clean), true, log_var))
    last = len(chain.t) - 1
    if isinstance(row, int) and row < last:
        return kl
    mean = of_x0 * clean + of_x * x
    decoder = -_bits(log_likelihood_8bit(x0, mean, log_var / 2, exact))
    return decoder if isinstance(row, int) else torch.where(row == last, decoder, kl)


def _kl(difference: Tensor, log_var: Tensor, other: Tensor) -> Tensor:
    """KL divergence in nats between normal distributions: difference of their means, log of the
    variance of each.
    """
    gap = log_var - other
    return (torch.exp(gap) - 1 - gap + difference.square() * torch.exp(-other)) / 2


def _bits(nats: Tensor) -> Tensor:
    """Bits per dimension (B,) of nats (B, ...)."""
    return nats.flatten(1).mean(1) / math.log(2)


def _tanh_cdf(z: Tensor) -> Tensor:
    return (1 + torch.tanh(math.sqrt(2 / math.pi) * (z + 0.044715 * z**3))) / 2
