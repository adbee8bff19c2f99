"""Mean and covariance of features that arrive in batches."""

from __future__ import annotations

import torch
from torch import Tensor

from functions.metrics.features import check


class Moments:
    """Mean and covariance of features seen in batches, in float64.

    Keeps `n`, the mean and the scatter about that mean, and merges them by the method of Chan,
    Golub & LeVeque (1979), so that features far from the origin lose no digits. device: every batch
    is moved there.
    """

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self.n = 0
        self._device = torch.device(device)
        self._mean: Tensor | None = None
        self._scatter: Tensor | None = None

    def add(self, features: Tensor) -> Moments:
        """Add a batch (n, D); an empty one changes nothing. Raises ValueError for a bad one."""
        check(features, "features", least=0)
        if len(features):
            x = features.detach().to(self._device).double()
            mean = x.mean(0)
            x = x - mean
            self._combine(len(x), mean, x.T @ x)
        return self

    def merge(self, other: Moments) -> Moments:
        """Add everything that another one has seen."""
        if other.n:
            mean, scatter = other._known(1)
            self._combine(other.n, mean.to(self._device), scatter.to(self._device))
        return self

    def _combine(self, n: int, mean: Tensor, scatter: Tensor) -> None:
        if self._mean is None or self._scatter is None:
            self.n, self._mean, self._scatter = n, mean.clone(), scatter.clone()
            return
        if mean.shape != self._mean.shape:
            raise ValueError(f"features have {len(mean)} columns, earlier ones {len(self._mean)}")
        total, gap = self.n + n, mean - self._mean
        self._scatter.add_(scatter).addr_(gap, gap, alpha=self.n * n / total)
        self._mean.add_(gap, alpha=n / total)
        self.n = total

    def _known(self, least: int) -> tuple[Tensor, Tensor]:
        if self._mean is None or self._scatter is None or self.n < least:
            raise ValueError(f"statistics need at least {least} samples, got {self.n}")
        return self._mean, self._scatter

    @property
    def mean(self) -> Tensor:
        """Mean (D,), float64. Raises ValueError before the first sample."""
        return self._known(1)[0]

    @property
    def cov(self) -> Tensor:
        """Unbiased covariance (D, D), float64. Raises ValueError below 2 samples."""
        return self._known(2)[1] / (self.n - 1)

    def sums(self, shift: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Count (), sum (D,) and outer products (D, D) of `x - shift`, for an all-reduce.

        They add up over processes that use the same `shift`. Any vector near the data keeps all
        digits, such as the mean of rank 0. A process without samples gives zeros.
        """
        shift = shift.to(self._device).double()
        count = torch.tensor(float(self.n), dtype=torch.float64, device=self._device)
        if self._mean is None or self._scatter is None:
            return count, torch.zeros_like(shift), shift.new_zeros(len(shift), len(shift))
        gap = self._mean - shift
        return count, self.n * gap, self._scatter + self.n * torch.outer(gap, gap)

    @classmethod
    def from_sums(cls, count: Tensor, total: Tensor, outer: Tensor, shift: Tensor) -> Moments:
        """Moments of the summed results of `sums`: its inverse, after the all-reduce."""
        made = cls(total.device)
        if (n := round(float(count))) > 0:
            gap = total / n
            made._combine(n, shift.to(gap) + gap, outer - n * torch.outer(gap, gap))
        return made
