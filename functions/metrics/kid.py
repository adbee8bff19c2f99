"""The kernel inception distance."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from configs.values import Count
from functions.metrics.base import Seen, pair
from functions.parts import METRICS

SEED = 2020  # torch-fidelity's own


def kid_subset_size(n1: int, n2: int, wanted: int = 1000) -> int:
    """How many samples each KID subset really has: never more than either set holds."""
    return min(n1, n2, wanted)


def kid(
    features1: Tensor,
    features2: Tensor,
    subsets: int = 100,
    subset_size: int = 1000,
    seed: int = SEED,
) -> tuple[float, float]:
    """Kernel inception distance (Binkowski et al. 2018): mean and deviation over random subsets.

    Unbiased MMD^2 with the kernel ``(x.y / D + 1)^3``. Subsets are as large as
    :func:`kid_subset_size` says: sets smaller than ``subset_size`` are used whole, where
    torch-fidelity refuses. The mean may be slightly negative. ``features1`` are the samples,
    ``features2`` the reference: their order is the order of the random draws.
    """
    x, y = pair(features1, features2, least=2)
    size = kid_subset_size(len(x), len(y), subset_size)
    if subsets < 1 or size < 2:
        raise ValueError(f"KID needs 1 subset of 2 samples at least, got {subsets} of {size}")
    rng = np.random.RandomState(seed)
    values = []
    for _ in range(subsets):
        a = x[rng.choice(len(x), size, replace=False)]
        b = y[rng.choice(len(y), size, replace=False)]
        values.append(_mmd2(a, b))
    return float(np.mean(values)), float(np.std(values))


def _mmd2(x: np.ndarray, y: np.ndarray) -> float:
    """Unbiased estimate of MMD^2 (Gretton et al. 2012, eq. 3) of sets of equal size."""
    m = len(x)
    within = _kernel_sum(x, x, diagonal=False) + _kernel_sum(y, y, diagonal=False)
    return float(within / (m * (m - 1)) - 2 * _kernel_sum(x, y, diagonal=True) / (m * m))


def _kernel_sum(x: np.ndarray, y: np.ndarray, diagonal: bool) -> np.floating:
    """Sum of the kernel matrix, row by row as torch-fidelity sums: in float32 the order shows."""
    kernel = (np.matmul(x, y.T) * (1.0 / x.shape[1]) + 1) ** 3
    if diagonal:
        return kernel.sum(axis=0).sum()
    return (kernel.sum(axis=1) - np.diagonal(kernel)).sum()


@METRICS.part(
    "kid",
    title="kernel inception distance",
    paper="1801.01401",
    label="KID",
    lower_is_better=True,
    unit="squared distance",
)
def _kid(seen: Seen, subsets: Count = 100, subset_size: Count = 1000) -> tuple[float, float]:
    return kid(seen.features, seen.real.features, subsets, subset_size)
