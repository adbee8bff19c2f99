"""Statistics over seeds: means, differences seed by seed, relative gains."""

from __future__ import annotations

import math
from collections.abc import Iterable, Set
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import stdtrit

CONFIDENCE = 0.975  # two-sided: a 95 % interval


@dataclass(frozen=True)
class Stat:
    """Mean and sample standard deviation (n - 1 in the denominator) of the n finite values of
    by_seed. The deviation is NaN for fewer than two values, the mean for none.
    """

    mean: float
    std: float
    by_seed: dict[int, float]

    @property
    def n(self) -> int:
        return len(self.by_seed)

    @property
    def error(self) -> float:
        """Standard error of the mean."""
        return self.std / math.sqrt(self.n) if self.n > 1 else math.nan

    def over(self, seeds: Set[int]) -> Stat:
        """Statistics of these seeds only."""
        return stat({seed: value for seed, value in self.by_seed.items() if seed in seeds})


def stat(by_seed: dict[int, float]) -> Stat:
    """Compute the statistics of the finite values."""
    kept = {seed: value for seed, value in sorted(by_seed.items()) if math.isfinite(value)}
    found = np.array(list(kept.values()), dtype=np.float64)
    mean = float(found.mean()) if len(found) else math.nan
    return Stat(mean, float(found.std(ddof=1)) if len(found) > 1 else math.nan, kept)


@dataclass(frozen=True)
class Difference:
    """Mean difference, its standard error, and half the width of its 95 % interval (Student's t).

    With one seed error and reach are NaN, without a seed all three.
    """

    value: float
    error: float
    reach: float


def difference(one: Stat, other: Stat, ratio: float = 1.0) -> Difference:
    """Compute `one - ratio other`, seed by seed over the seeds that both have: equal seeds mean
    equal noise, so that their values vary together.
    """
    seeds = one.by_seed.keys() & other.by_seed.keys()
    paired = stat({s: one.by_seed[s] - ratio * other.by_seed[s] for s in seeds})
    quantile = float(stdtrit(paired.n - 1, CONFIDENCE)) if paired.n > 1 else math.nan
    return Difference(paired.mean, paired.error, quantile * paired.error)


def indistinguishable(one: Stat, other: Stat) -> bool:
    """Whether zero lies in the 95 % interval of the difference. False where nothing is known."""
    found = difference(one, other)
    return abs(found.value) <= found.reach


@dataclass(frozen=True)
class Gain:
    """Gain of a distance over a baseline's in percent of the latter, over the seeds of both, with
    its standard error and half the width of its 95 % interval (NaN for one seed).
    """

    percent: float
    error: float
    reach: float
    seeds: int

    @property
    def known(self) -> bool:
        """Whether there is an interval at all."""
        return self.seeds > 1

    @property
    def clear(self) -> bool:
        """Whether zero lies outside the 95 % interval."""
        return abs(self.percent) > self.reach


def gain(base: Stat, other: Stat) -> Gain | None:
    """Compute 100 (1 - other / base); None without a common seed, or where base is not above 0.

    The uncertainty is propagated to first order from both, seed by seed.
    """
    seeds = base.by_seed.keys() & other.by_seed.keys()
    base, other = base.over(seeds), other.over(seeds)
    if not (math.isfinite(base.mean) and math.isfinite(other.mean) and base.mean > 0):
        return None
    ratio = other.mean / base.mean
    spread = difference(other, base, ratio)
    percent = 100 / base.mean
    return Gain(100 * (1 - ratio), percent * spread.error, percent * spread.reach, len(seeds))


def decimals(values: Iterable[float]) -> int:
    """Digits after the point that show three significant ones of the smallest positive value."""
    sizes = [abs(v) for v in values if math.isfinite(v) and v != 0]
    return min(6, max(0, 2 - math.floor(math.log10(min(sizes))))) if sizes else 2


def number(value: Any) -> float:
    """A float; NaN for what is no number."""
    return float(value) if isinstance(value, int | float) else math.nan
