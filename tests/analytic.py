"""Exact denoisers of known densities, the stored reference numbers, and a stored noise source.

A Gaussian or a mixture of Gaussians per pixel has a closed-form E[eps | x_t], so samplers and
losses can be checked without any training.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

GOLDEN = Path(__file__).parent / "golden" / "vp"


class Gauss:
    """Every pixel is N(mean, std^2)."""

    mean, std = 0.3, 0.5

    def eps(self, x, abar):
        gap = x - abar**0.5 * self.mean
        return (1 - abar) ** 0.5 * gap / (abar * self.std**2 + 1 - abar)

    def marginal(self, process, t: float) -> tuple[float, float]:
        """Mean and standard deviation of x_t."""
        time = torch.tensor(t, dtype=torch.float64)
        alpha, sigma = float(process.alpha(time)), float(process.sigma(time))
        return alpha * self.mean, (alpha**2 * self.std**2 + sigma**2) ** 0.5

    def flow(self, process, x: Tensor, t: float, s: float) -> Tensor:
        """The exact probability-flow solution from t to s: quantiles are kept."""
        (m_t, v_t), (m_s, v_s) = self.marginal(process, t), self.marginal(process, s)
        return m_s + v_s / v_t * (x - m_t)


class Mixture:
    """Every pixel is one of two Gaussians."""

    weights, means, stds = (0.3, 0.7), (0.8, -0.5), (0.2, 0.15)

    def eps(self, x, abar):
        parts = list(zip(self.weights, self.means, self.stds, strict=True))
        gaps = torch.stack([x - abar**0.5 * m for _, m, _ in parts])
        var = torch.stack([torch.as_tensor(abar * s**2 + 1 - abar).expand_as(x) for *_, s in parts])
        prior = x.new_tensor(self.weights).log().view(-1, *[1] * x.ndim)
        share = torch.softmax(prior - 0.5 * gaps**2 / var - 0.5 * var.log(), 0)
        return (1 - abar) ** 0.5 * (share * gaps / var).sum(0)


MODELS = {"gauss": Gauss(), "mixture": Mixture()}


class ExactNet(nn.Module):
    """What a perfectly trained network would answer, in any parametrisation."""

    def __init__(self, model, process, predicts: str = "eps") -> None:
        super().__init__()
        self.model, self.process, self.predicts = model, process, predicts
        self.times: list[Tensor] = []

    def forward(self, x: Tensor, t: Tensor, label: Tensor | None = None) -> Tensor:
        self.times.append(t)
        own = t / 999 if self.process.steps is None else t  # VPSDE tells the network 999 t
        abar = (self.process.alpha(own.double()) ** 2).view(-1, *[1] * (x.ndim - 1)).to(x)
        eps = self.model.eps(x, abar)
        x0 = (x - (1 - abar) ** 0.5 * eps) / abar**0.5
        return {"eps": eps, "x0": x0, "v": abar**0.5 * eps - (1 - abar) ** 0.5 * x0}[self.predicts]


def golden(name: str) -> dict[str, Tensor]:
    """Arrays of one stored file, as float64 or int64 tensors."""
    with np.load(GOLDEN / f"{name}.npz") as stored:
        return {key: torch.from_numpy(stored[key]) for key in stored.files}


def bank(draws: Iterable[Tensor]) -> Callable[[Tensor], Tensor]:
    """A noise source that hands out stored draws in order."""
    source = iter(draws)
    return lambda x: next(source).to(x)
