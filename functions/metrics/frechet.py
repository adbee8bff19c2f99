"""Frechet distance."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from functions.metrics.base import Seen
from functions.metrics.features import check, check_same_size
from functions.metrics.moments import Moments
from functions.parts import METRICS


@METRICS.part(
    title="Frechet distance",
    paper="1706.08500",
    label="FID",
    lower_is_better=True,
    unit="squared distance",
)
def distance(seen: Seen) -> float:
    """Squared Frechet distance between Gaussians fitted to the samples and to the real images."""
    return frechet(seen.moments.mean, seen.moments.cov, seen.real.mean, seen.real.cov)


def frechet(mu1: Tensor, cov1: Tensor, mu2: Tensor, cov2: Tensor) -> float:
    """Squared Frechet distance of two Gaussians with means (D,) and covariances (D, D).

    `|mu1 - mu2|^2 + Tr(S1 + S2 - 2 (S1 S2)^(1/2))` (1706.08500, eq. 6). The last trace is the sum
    of the square roots of the eigenvalues of `S1 S2`. These are real and non-negative but for
    rounding, which may turn zeros into tiny complex numbers; only the real part of their root
    counts. With fewer samples than features that rounding is worth about 1e-5 of the result. A
    symmetric solver would avoid it, but this one makes the same error as torch-fidelity, so that
    results compare digit by digit. A result below zero is rounding and becomes 0.

    Raises ValueError for shapes that do not fit, values that are not finite, and a covariance that
    is not symmetric or has a negative variance.
    """
    m1, s1 = _statistics(mu1, cov1, "first")
    m2, s2 = _statistics(mu2, cov2, "second")
    check_same_size(mu1, mu2)
    cross = np.sqrt(np.linalg.eigvals(s1 @ s2).astype(np.complex128)).real.sum()
    return max(0.0, float((m1 - m2) @ (m1 - m2) + np.trace(s1) + np.trace(s2) - 2 * cross))


def _statistics(mu: Tensor, cov: Tensor, which: str) -> tuple[np.ndarray, np.ndarray]:
    if mu.ndim != 1 or cov.shape != (len(mu), len(mu)):
        raise ValueError(
            f"{which} statistics: a mean of shape {tuple(mu.shape)} needs a square covariance "
            f"of that size, got {tuple(cov.shape)}"
        )
    m, s = mu.detach().cpu().double().numpy(), cov.detach().cpu().double().numpy()
    if not (np.isfinite(m).all() and np.isfinite(s).all()):
        raise ValueError(f"{which} statistics: mean or covariance is not finite")
    if np.abs(s - s.T).max(initial=0.0) > 1e-8 * np.abs(s).max(initial=0.0):
        raise ValueError(f"{which} statistics: the covariance is not symmetric")
    if (np.diagonal(s) < 0).any():
        raise ValueError(f"{which} statistics: the covariance has a negative variance")
    return m, s


def split_distance(features: Tensor, seed: int = 0) -> float:
    """Frechet distance between two random halves of one set (n, D): the yardstick for small sets.

    Halves are smaller than the whole, so their distance is a little above what equally many samples
    of a perfect model would reach against the whole set. Raises ValueError below 4 samples.
    """
    check(features, "features", least=4)
    order = torch.from_numpy(np.random.RandomState(seed).permutation(len(features)))
    first, second = order.tensor_split(2)
    a = Moments().add(features[first.to(features.device)])
    b = Moments().add(features[second.to(features.device)])
    return frechet(a.mean, a.cov, b.mean, b.cov)
