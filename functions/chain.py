"""The reverse chain of DDPM over a time grid: means and variances of its Gaussian steps."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from functions.process import Scalar
from functions.rows import pairs

if TYPE_CHECKING:
    from functions.denoiser import Variance

TABLES = ("t", "s", "beta", "posterior", "of_x0", "of_x")


@dataclass(frozen=True)
class Chain:
    """Steps t -> s of a time grid, (S,) each, float64, in the order of the grid.

    beta: variance of q(x_t | x_s). posterior: variance of q(x_s | x_t, x_0), betatilde, 0 where s
    is clean data. of_x0, of_x: coefficients of its mean (2006.11239, eq. 7).
    """

    t: Tensor
    s: Tensor
    beta: Tensor
    posterior: Tensor
    of_x0: Tensor
    of_x: Tensor

    @classmethod
    def over(cls, process: Scalar, grid: Tensor) -> Chain:
        """Chain over a time grid (S + 1,); a shorter grid has variances of its own, as a respaced
        process has (2102.09672, section 3.3). Raises ValueError as `pairs` does.
        """
        steps = pairs(grid)
        t, s = (torch.stack(times) for times in zip(*steps, strict=True))
        (var_t, var_s), abar_s = (
            (process.sigma(time) ** 2 for time in (t, s)),
            process.alpha(s) ** 2,
        )
        keep = process.psi(s, t)[..., 0, 0]  # sqrt(1 - beta), where the variance is preserved
        beta = var_t - keep**2 * var_s
        share = var_s / var_t
        return cls(t, s, beta, beta * share, torch.sqrt(abar_s) * beta / var_t, keep * share)

    def to(self, device: torch.device) -> Chain:
        """The chain with its tables on a device, so that rows (B,) there need no copy."""
        return Chain(**{name: getattr(self, name).to(device) for name in TABLES})

    def log_variance(self, variance: Variance, v: Tensor | None, row: Tensor | int) -> Tensor:
        """Log of the variance with which steps `row`, an index or (B,), go from x_t to x_s, as the
        published models have it. v: what the network answers, (B, ...), under a learned variance,
        whose result is shaped like it; else the result is () or (B, 1, ...).

        Where x_s is clean data the posterior's variance is 0: there the small and the large one are
        the posterior's of the step before (2102.09672's code).
        """
        small, large = self.log_posterior, self.log_beta
        if variance == "learned":
            assert v is not None
            low, high = (along(bound[row], v) for bound in (small, large))
            frac = (v + 1) / 2
            return frac * high + (1 - frac) * low  # 2102.09672, eq. 15
        return (small if variance == "small" else self._log_large)[row]

    @cached_property
    def _log_large(self) -> Tensor:
        ends_clean = (self.posterior == 0)[-1:]
        last = torch.where(ends_clean, self.log_posterior[-1:], self.log_beta[-1:])
        return torch.cat([self.log_beta[:-1], last])

    @cached_property
    def log_posterior(self) -> Tensor:
        """Log of `posterior`; where that is 0, its value at the step before (log beta where there
        is none).
        """
        before = self.posterior[-2:-1] if len(self.posterior) > 1 else self.beta[-1:]
        last = self.posterior[-1:]
        return torch.log(torch.cat([self.posterior[:-1], torch.where(last == 0, before, last)]))

    @cached_property
    def log_beta(self) -> Tensor:
        """Log of `beta`."""
        return torch.log(self.beta)


def along(value: Tensor, like: Tensor) -> Tensor:
    """Shape a value for all, (), or one for each image, (B,), to be multiplied with (B, ...)."""
    return value.to(like).view(-1, *[1] * (like.ndim - 1)) if value.ndim else value.to(like)
