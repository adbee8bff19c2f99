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

from functions.process import EDM, VPSDE, Flow

GOLDEN = Path(__file__).parent / "golden" / "vp"


class Blend:
    """Data whose pixels are independent, each a mixture of Gaussians; under CLD the positions are,
    under blur the frequencies. Whatever a linear process makes of them is then known.

    weights (J,); means, stds: (J,), or (J, H, W) where they differ between pixels.
    """

    def __init__(self, weights, means, stds) -> None:
        self.weights, self.means, self.stds = (
            torch.as_tensor(part, dtype=torch.float64) for part in (weights, means, stds)
        )

    def answers(self, process, x: Tensor, t) -> dict[str, Tensor]:
        """Expected noise ("eps"), clean state ("x0") and their difference ("velocity") in a state x
        (B, ...) at t.
        """
        M, R = self._coefs(process, t)
        M, (weights, m, s), k = M[..., :1], self._parts(), M.shape[-2]
        times = torch.mul if k == 1 else torch.matmul  # the same for numbers, but faster
        gap = x.unflatten(1, (k, -1)).movedim(1, -1)[..., None] - M * m  # (J, B, C, H, W, k, 1)
        covariance = s**2 * times(M, M.mT) + times(R, R.mT)
        pull = gap / covariance if k == 1 else torch.linalg.inv(covariance) @ gap
        size = covariance if k == 1 else covariance.det()[..., None, None]
        share = torch.softmax(weights.log() - 0.5 * (times(gap.mT, pull) + size.log()), 0)
        clean = (share * (m + s**2 * times(M.mT, pull))).sum(0)
        clean = torch.cat([clean, *[torch.zeros_like(clean)] * (k - 1)], -2)
        noise = times(R.mT, (share * pull).sum(0))
        found = {"eps": noise, "x0": clean, "velocity": noise - clean}
        return {name: h[..., 0].movedim(-1, 1).flatten(1, 2) for name, h in found.items()}

    def _parts(self) -> tuple[Tensor, Tensor, Tensor]:
        """Weights, means, stds, each (J, 1, 1, H or 1, W or 1, 1, 1)."""
        space = self.means.shape[1:] or (1, 1)
        shaped = (part.view(-1, 1, 1, *space, 1, 1) for part in (self.means, self.stds))
        return self.weights.view(-1, *[1] * 6), *shaped

    def _coefs(self, process, t) -> tuple[Tensor, Tensor]:
        """Coefs of the clean state and the noise at t: (B or 1, 1, H or 1, W or 1, k, k)."""
        t = torch.as_tensor(t, dtype=torch.float64)
        coefs = (process.mean(t), process.factor(t))
        return tuple(
            coef.view(*(t.shape or (1,)), 1, *(coef.shape[t.ndim : -2] or (1, 1)), *coef.shape[-2:])
            for coef in coefs
        )

    def eps(self, x: Tensor, abar) -> Tensor:
        """Expected noise in x = sqrt(abar) x0 + sqrt(1 - abar) eps."""
        abar = torch.as_tensor(abar)
        parts = list(zip(self.weights, self.means, self.stds, strict=True))
        gaps = torch.stack([x - abar**0.5 * m for _, m, _ in parts])
        var = torch.stack([(abar * s**2 + 1 - abar).expand_as(x) for *_, s in parts])
        prior = self.weights.log().to(x).view(-1, *[1] * x.ndim)
        share = torch.softmax(prior - 0.5 * gaps**2 / var - 0.5 * var.log(), 0)
        return (1 - abar) ** 0.5 * (share * gaps / var).sum(0)

    def flow(self, process, x: Tensor, t: float, s: float) -> Tensor:
        """The exact probability flow from t to s where a pixel has one coefficient: it keeps
        quantiles.
        """
        begin, end = self._odds(process, t), self._odds(process, s)
        want, low, high = begin(x), torch.full_like(x, -1e3), torch.full_like(x, 1e3)
        for _ in range(80):
            middle = (low + high) / 2
            under = end(middle) < want
            low, high = torch.where(under, middle, low), torch.where(under, high, middle)
        return (low + high) / 2

    def _odds(self, process, t: float) -> Callable[[Tensor], Tensor]:
        """log(F/(1 - F)), F the distribution function of x_t."""
        (alpha, sigma), (weights, m, s) = self._coefs(process, t), self._parts()
        spread = torch.sqrt((alpha * s) ** 2 + sigma**2)

        def odds(x: Tensor) -> Tensor:
            z = (x[..., None, None] - alpha * m) / spread
            below, above = (torch.special.log_ndtr(side) + weights.log() for side in (z, -z))
            return (torch.logsumexp(below, 0) - torch.logsumexp(above, 0))[..., 0, 0]

        return odds


class Gauss(Blend):
    """Every pixel is N(mean, std^2)."""

    mean, std = 0.3, 0.5

    def __init__(self) -> None:
        super().__init__([1.0], [self.mean], [self.std])

    def marginal(self, process, t: float) -> tuple[float, float]:
        """Mean and standard deviation of x_t."""
        time = torch.tensor(t, dtype=torch.float64)
        alpha, sigma = float(process.alpha(time)), float(process.sigma(time))
        return alpha * self.mean, (alpha**2 * self.std**2 + sigma**2) ** 0.5


class Mixture(Blend):
    """Every pixel is one of two Gaussians."""

    def __init__(self) -> None:
        super().__init__([0.3, 0.7], [0.8, -0.5], [0.2, 0.15])


MODELS = {"gauss": Gauss(), "mixture": Mixture()}


class ExactNet(nn.Module):
    """What a perfectly trained network would answer, in any parametrisation."""

    def __init__(self, model, process, predicts: str = "eps") -> None:
        super().__init__()
        self.model, self.process, self.predicts = model, process, predicts
        self.times: list[Tensor] = []

    def forward(self, x: Tensor, t: Tensor, label: Tensor | None = None) -> Tensor:
        self.times.append(t)
        own = self._own(t)
        scales = self.process.alpha(own), self.process.sigma(own)
        alpha, sigma = (c.view(-1, *[1] * (x.ndim - 1)) for c in scales)
        data = self.process.sigma_data
        size = torch.sqrt(sigma**2 + (alpha * data) ** 2)
        if self.predicts == "edm":  # it sees x at unit variance
            x = x * size
        found = self.model.answers(self.process, x, own)
        eps, x0 = found["eps"], found["x0"]
        found["v"] = alpha * eps - sigma * x0
        # F of x0 = c_skip x + c_out F, 2206.00364, table 1 at the noise level sigma/alpha
        found["edm"] = (x0 - alpha * (data / size) ** 2 * x) * size / (sigma * data)
        return found[self.predicts].to(x)

    def _own(self, t: Tensor) -> Tensor:
        """Time of the process from the time that the network is told."""
        if self.predicts == "edm" or isinstance(self.process, EDM):
            return self.process.time_of(torch.exp(4 * t.double()))
        return (t / {VPSDE: 999, Flow: 1000}.get(type(self.process), 1)).double()


def golden(name: str) -> dict[str, Tensor]:
    """Arrays of one stored file, as float64 or int64 tensors."""
    with np.load(GOLDEN / f"{name}.npz") as stored:
        return {key: torch.from_numpy(stored[key]) for key in stored.files}


def bank(draws: Iterable[Tensor]) -> Callable[[Tensor], Tensor]:
    """A noise source that hands out stored draws in order."""
    source = iter(draws)
    return lambda x: next(source).to(x)
