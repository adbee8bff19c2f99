"""Kernel inception distance."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from annotated_types import Ge
from torch import Tensor

from configs.values import Count
from functions.metrics.base import Seen
from functions.metrics.features import SEED, check, check_same_size
from functions.parts import METRICS


@METRICS.part(
    "kid",
    title="kernel inception distance",
    paper="1801.01401",
    label="KID",
    lower_is_better=True,
    unit="squared distance",
)
def _kid(
    seen: Seen, subsets: Count = 100, subset_size: Annotated[int, Ge(2)] = 1000
) -> tuple[float, float]:
    """KID of the samples against the real images, and its deviation over random subsets."""
    return kid(seen.features, seen.real.features, subsets, subset_size)


def kid(
    features1: Tensor,
    features2: Tensor,
    subsets: int = 100,
    subset_size: int = 1000,
    seed: int = SEED,
) -> tuple[float, float]:
    """Kernel inception distance: mean and standard deviation over random subsets.

    Unbiased MMD^2 with the kernel `(x.y / D + 1)^3` (1801.01401). The mean may be
    slightly negative.

    features1, features2: samples (n, D) and reference (m, D); the order of the draws.
    subset_size: at most; see `kid_subset_size`. torch-fidelity refuses smaller sets.
    """
    check(features1, "first features", least=2)
    check(features2, "second features", least=2)
    check_same_size(features1, features2)
    x, y = (features.detach().cpu().numpy() for features in (features1, features2))
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


def kid_subset_size(n1: int, n2: int, wanted: int = 1000) -> int:
    """Number of samples in each subset of KID: never more than either set holds."""
    return min(n1, n2, wanted)


def _mmd2(x: np.ndarray, y: np.ndarray) -> float:
    """Unbiased estimate of MMD^2 of two sets of equal size (Gretton et al. 2012, eq. 3)."""
    m = len(x)
    within = _kernel_sum(x, x, diagonal=False) + _kernel_sum(y, y, diagonal=False)
    return float(within / (m * (m - 1)) - 2 * _kernel_sum(x, y, diagonal=True) / (m * m))


def _kernel_sum(x: np.ndarray, y: np.ndarray, diagonal: bool) -> np.floating:
    """Sum of the kernel matrix, row by row as torch-fidelity does: in float32 the order shows."""
    kernel = (np.matmul(x, y.T) * (1.0 / x.shape[1]) + 1) ** 3
    if diagonal:
        return kernel.sum(axis=0).sum()
    return (kernel.sum(axis=1) - np.diagonal(kernel)).sum()
