"""Distances between two sets of images, from the features of a network: pure mathematics.

Features are (n, D) tensors. The Frechet distance works in float64 throughout; KID and
precision/recall work in the dtype they are given, because float32 features then give the digits
of torch-fidelity 0.4.0, the library these figures are compared with, and float64 features the
exact value. Seeds feed NumPy's ``RandomState`` for the same reason.
"""

from typing import Protocol

import numpy as np
import torch
from torch import Tensor

SEED = 2020  # torch-fidelity's own


class Named(Protocol):
    """Anything with the name of a feature extractor."""

    @property
    def name(self) -> str:
        """``inception`` for the published network, anything else otherwise."""
        ...


class Moments:
    """Mean and covariance of features seen in batches, in float64.

    Keeps ``n``, the mean and the scatter about that mean, and merges by Chan, Golub & LeVeque
    (1979), so that features far from the origin lose no digits. Lives on ``device`` and moves
    every batch there.
    """

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self.n = 0
        self._device = torch.device(device)
        self._mean: Tensor | None = None
        self._scatter: Tensor | None = None

    def add(self, features: Tensor) -> "Moments":
        """Take in a batch (n, D); an empty one changes nothing. ValueError if not finite."""
        _check(features, "features", least=0)
        if len(features):
            x = features.detach().to(self._device).double()
            mean = x.mean(0)
            x = x - mean
            self._combine(len(x), mean, x.T @ x)
        return self

    def merge(self, other: "Moments") -> "Moments":
        """Take in everything another one has seen."""
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
        """Mean (D,), float64. ValueError before the first sample."""
        return self._known(1)[0]

    @property
    def cov(self) -> Tensor:
        """Unbiased covariance (D, D), float64, as ``numpy.cov``. ValueError below 2 samples."""
        return self._known(2)[1] / (self.n - 1)

    def sums(self, shift: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Count (), sum (D,) and outer products (D, D) of ``x - shift``, for an all-reduce.

        These add up over processes that agree on ``shift``; any vector near the data keeps all
        digits, for instance the mean of rank 0. A process without samples gives zeros.
        """
        shift = shift.to(self._device).double()
        count = torch.tensor(float(self.n), dtype=torch.float64, device=self._device)
        if self._mean is None or self._scatter is None:
            return count, torch.zeros_like(shift), shift.new_zeros(len(shift), len(shift))
        gap = self._mean - shift
        return count, self.n * gap, self._scatter + self.n * torch.outer(gap, gap)

    @classmethod
    def from_sums(cls, count: Tensor, total: Tensor, outer: Tensor, shift: Tensor) -> "Moments":
        """Inverse of :meth:`sums`, after the all-reduce."""
        made = cls(total.device)
        if (n := round(float(count))) > 0:
            gap = total / n
            made._combine(n, shift.to(gap) + gap, outer - n * torch.outer(gap, gap))
        return made


def frechet(mu1: Tensor, cov1: Tensor, mu2: Tensor, cov2: Tensor) -> float:
    """Squared Frechet distance of two Gaussians (Heusel et al. 2017, eq. 6).

    ``|mu1 - mu2|^2 + Tr(S1 + S2 - 2 (S1 S2)^(1/2))``; the last trace is the sum of the square
    roots of the eigenvalues of ``S1 S2``, real and non-negative but for rounding, which may turn
    zeros into tiny complex numbers: only the real part of their root counts. With fewer samples
    than features that rounding is worth about 1e-5 of the figure. A symmetric solver is free of
    it, but this one makes the same error as torch-fidelity, so that figures compare digit by
    digit. A result below zero is rounding and becomes 0.

    Raises ValueError for shapes that do not fit, values that are not finite, or a covariance
    that is not symmetric or has a negative variance.
    """
    m1, s1 = _statistics(mu1, cov1, "first")
    m2, s2 = _statistics(mu2, cov2, "second")
    if m1.shape != m2.shape:
        raise ValueError(f"features differ in size: {len(m1)} and {len(m2)}")
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
    x, y = _pair(features1, features2, least=2)
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


def inception_score(
    logits: Tensor, splits: int = 10, seed: int | None = SEED
) -> tuple[float, float]:
    """Inception score (Salimans et al. 2016): mean and deviation over ``splits`` parts.

    ``exp(E KL(p(y|x) || p(y)))`` of the class probabilities, from logits (n, K). The samples are
    shuffled by ``seed`` first, or kept in order with None. ValueError below one sample per part.
    """
    _check(logits, "logits", least=1)
    n = len(logits)
    if not 1 <= splits <= n:
        raise ValueError(f"inception score needs 1 to {n} splits for {n} samples, got {splits}")
    logits = logits.detach().cpu()
    if seed is not None:
        logits = logits[torch.from_numpy(np.random.RandomState(seed).permutation(n))]
    log_p, p = logits.double().log_softmax(1), logits.double().softmax(1)
    scores = []
    for i in range(splits):
        part = slice(i * n // splits, (i + 1) * n // splits)
        # a class that underflows to zero everywhere adds nothing: no log of zero
        marginal = p[part].mean(0, keepdim=True).clamp(min=torch.finfo(torch.float64).tiny)
        divergence = (p[part] * (log_p[part] - marginal.log())).sum(1)
        scores.append(float(divergence.mean().exp()))
    return float(np.mean(scores)), float(np.std(scores))


def precision_recall(
    real: Tensor, fake: Tensor, neighborhood: int = 3, batch: int = 10_000
) -> tuple[float, float]:
    """Improved precision and recall (Kynkaanniemi et al. 2019, eq. 2).

    Precision: the share of ``fake`` that lies inside the ball of some real sample, whose radius
    is the distance to its ``neighborhood``-th nearest neighbour; recall the other way round.
    ``batch`` bounds the memory: no more than batch x max(n) distances at a time.
    """
    real, fake = real.detach(), fake.detach()
    _check(real, "real features", least=neighborhood + 1)
    _check(fake, "fake features", least=neighborhood + 1)
    if real.shape[1] != fake.shape[1]:
        raise ValueError(f"features differ in size: {real.shape[1]} and {fake.shape[1]}")
    if neighborhood < 1 or batch < 1:
        raise ValueError(f"neighborhood and batch start at 1, got {neighborhood} and {batch}")
    radius_real = _radius(real, neighborhood, batch)
    radius_fake = _radius(fake, neighborhood, batch)
    precise = torch.zeros(len(fake), dtype=torch.bool, device=fake.device)
    recalled = []
    for part, radius in zip(real.split(batch), radius_real.split(batch), strict=True):
        distance = _distances(part, fake, batch)
        recalled.append((distance <= radius_fake).any(1))
        precise |= (distance <= radius[:, None]).any(0)
    return float(precise.double().mean()), float(torch.cat(recalled).double().mean())


def _radius(features: Tensor, neighborhood: int, batch: int) -> Tensor:
    """Distance to the k-th nearest other sample; the nearest of all is the sample itself."""
    rows = (_distances(part, features, batch) for part in features.split(batch))
    return torch.cat([row.kthvalue(neighborhood + 1).values for row in rows])


def _distances(rows: Tensor, columns: Tensor, batch: int) -> Tensor:
    return torch.cat([torch.cdist(rows, part) for part in columns.split(batch)], dim=1)


def split_distance(features: Tensor, seed: int = 0) -> float:
    """Frechet distance between two random halves of one set: the yardstick for small sets.

    Halves are smaller than the whole, so their distance is a little above what equally many
    samples of a perfect model would reach against the whole set. ValueError below 4 samples.
    """
    _check(features, "features", least=4)
    order = torch.from_numpy(np.random.RandomState(seed).permutation(len(features)))
    first, second = order.tensor_split(2)
    a = Moments().add(features[first.to(features.device)])
    b = Moments().add(features[second.to(features.device)])
    return frechet(a.mean, a.cov, b.mean, b.cov)


def label(metric: str, extractor: str | Named, n: int) -> str:
    """Name under which a figure may be shown; only 50,000 samples of Inception make a bare one.

    ``metric`` is "FID", "KID", "IS", "precision", ...; ``extractor`` an extractor or its name;
    ``n`` the number of samples. Examples: ``FID``, ``FID-10k``, ``FID-1797``,
    ``FD[classifier]-1617``, ``KID[classifier]``, ``FD[inception:0123abcd]-10k``.
    """
    if n < 1:
        raise ValueError(f"a figure needs at least 1 sample, got {n}")
    name = extractor if isinstance(extractor, str) else extractor.name
    if name != "inception":
        metric = f"{'FD' if metric == 'FID' else metric}[{name}]"
    if n >= 50_000:
        return metric
    return f"{metric}-{n // 1000}k" if n % 1000 == 0 else f"{metric}-{n}"


def _pair(first: Tensor, second: Tensor, least: int) -> tuple[np.ndarray, np.ndarray]:
    _check(first, "first features", least)
    _check(second, "second features", least)
    if first.shape[1] != second.shape[1]:
        raise ValueError(f"features differ in size: {first.shape[1]} and {second.shape[1]}")
    return first.detach().cpu().numpy(), second.detach().cpu().numpy()


def _check(x: Tensor, what: str, least: int) -> None:
    if x.ndim != 2 or x.dtype not in (torch.float32, torch.float64):
        raise ValueError(f"{what}: expected float32 or float64 (n, D), got {x.dtype} {x.shape}")
    if len(x) < least:
        raise ValueError(f"{what}: at least {least} samples needed, got {len(x)}")
    if bad := int((~x.isfinite()).any(1).sum()):
        raise ValueError(f"{what}: {bad} of {len(x)} rows hold NaN or infinity")
