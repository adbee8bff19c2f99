"""The statistics of a report: means over seeds, who is best, relative gain, the Pareto front."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import stdtrit

if TYPE_CHECKING:
    from runners.report.study import Doc, Point, Study


@dataclass(frozen=True)
class Stat:
    """Mean and sample standard deviation (n - 1 in the denominator) of the n finite values of
    by_seed; std is NaN for fewer than two, mean for none.
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
        """The same of those of these seeds that it has."""
        return stat({seed: value for seed, value in self.by_seed.items() if seed in seeds})


def stat(by_seed: dict[int, float]) -> Stat:
    """Statistics of what is finite among the values."""
    kept = {seed: value for seed, value in sorted(by_seed.items()) if math.isfinite(value)}
    found = np.array(list(kept.values()), dtype=np.float64)
    mean = float(found.mean()) if len(found) else math.nan
    return Stat(mean, float(found.std(ddof=1)) if len(found) > 1 else math.nan, kept)


@dataclass(frozen=True)
class Difference:
    """A mean difference, its standard error and the reach of its 95 % interval on either side
    (Student's t); these are NaN where a seed alone says nothing of its spread, all three where
    there is no seed.
    """

    value: float
    error: float
    reach: float


def difference(one: Stat, other: Stat, ratio: float = 1.0) -> Difference:
    """`one - ratio other`, seed by seed over the seeds that both have: equal seeds mean equal
    noise, and their figures vary together.
    """
    seeds = one.by_seed.keys() & other.by_seed.keys()
    paired = stat({s: one.by_seed[s] - ratio * other.by_seed[s] for s in seeds})
    quantile = float(stdtrit(paired.n - 1, 0.975)) if paired.n > 1 else math.nan
    return Difference(paired.mean, paired.error, quantile * paired.error)


def finite(points: Iterable[Point], key: str = "distance") -> list[Point]:
    """The points whose figure is a number."""
    return [point for point in points if math.isfinite(point.figures[key].mean)]


def level(points: Iterable[Point], key: str = "distance") -> list[Point]:
    """The points whose figure is a number, each over only the seeds that all of them have; empty
    where they have none in common. What is ranked must be level: another seed is other noise.
    """
    able = finite(points, key)
    if not able:
        return []
    seeds = set.intersection(*(set(point.figures[key].by_seed) for point in able))
    return [point.over(seeds) for point in able] if seeds else []


def best(points: Iterable[Point], key: str = "distance", lower: bool = True) -> Point | None:
    """Of level points the one with the best mean; of equals the one of fewer evaluations. None
    where no point has a number, or they have no seed in common.
    """
    sign = 1 if lower else -1
    ranked = sorted(level(points, key), key=lambda p: (sign * p.figures[key].mean, p.nfe))
    return ranked[0] if ranked else None


def indistinguishable(one: Stat, other: Stat) -> bool:
    """Whether zero lies in the 95 % interval of the difference. False where nothing is known."""
    found = difference(one, other)
    return abs(found.value) <= found.reach


def winners(study: Study) -> list[tuple[int, Point | None]]:
    """(budget, best point that needs at most so many evaluations) for every step count that was
    asked for, and for the largest number of evaluations, from the first that is enough for one;
    None where those that compete have no seed in common.
    """
    points = finite(study.points)
    asked = {steps for steps in study.steps if steps is not None}
    budgets = asked | ({math.ceil(max(p.nfe for p in points))} if points else set())
    fields = ((b, [p for p in points if p.nfe <= b]) for b in sorted(budgets))
    return [(budget, best(field)) for budget, field in fields if field]


def timed(points: Iterable[Point]) -> list[Point]:
    """The points with a distance and a time, level."""
    return level(point for point in points if point.seconds.mean > 0)


def pareto(points: Sequence[Point]) -> list[Point]:
    """Of level points those that no other beats in both mean seconds per image and mean distance,
    by seconds.
    """
    front: list[Point] = []
    for point in sorted(points, key=lambda p: (p.seconds.mean, p.distance.mean)):
        if not front or point.distance.mean < front[-1].distance.mean:
            front.append(point)
    return front


def beside(front: Sequence[Point], points: Sequence[Point]) -> list[Point]:
    """Level points off the Pareto front that are not told apart from it: whatever beats them does
    so by less than the 95 % intervals of both differences.
    """

    def clearly(one: Point, other: Point) -> bool:
        pairs = ((one.seconds, other.seconds), (one.distance, other.distance))
        beats = all(better.mean <= than.mean for better, than in pairs)
        return beats and not all(indistinguishable(*pair) for pair in pairs)

    off = (point for point in points if point not in front)
    return [point for point in off if not any(clearly(one, point) for one in front)]


@dataclass(frozen=True)
class Gain:
    """How much lower one distance is than a baseline's over the seeds that both have, in percent
    of the baseline's, with its standard error and the reach of its 95 % interval (NaN of one seed).
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
    """100 (1 - other / base), the uncertainty propagated to first order from both, with what the
    seeds have in common; None where it is not defined, as without a common seed.
    """
    seeds = base.by_seed.keys() & other.by_seed.keys()
    base, other = base.over(seeds), other.over(seeds)
    if not (math.isfinite(base.mean) and math.isfinite(other.mean) and base.mean > 0):
        return None
    ratio = other.mean / base.mean
    spread = difference(other, base, ratio)
    percent = 100 / base.mean
    return Gain(100 * (1 - ratio), percent * spread.error, percent * spread.reach, len(seeds))


def baseline(study: Study) -> Doc:
    """What gains are counted from: the first doc trained with the plain loss and sampled
    without eps-scaling; where there is none, the first.
    """
    plain = [doc for doc in study.docs if doc.loss == "simple" and doc.eps_scale == "none"]
    return (plain or study.docs)[0]


def gains(study: Study, over: Doc, doc: Doc) -> dict[tuple[str, int | None], Gain]:
    """Gain of `doc` over another by (sampler, steps), where both have a figure."""
    found = {}
    for (label, sampler, steps), point in study.at.items():
        other = study.at.get((doc.label, sampler, steps))
        if label == over.label and other is not None:
            one = gain(point.distance, other.distance)
            if one is not None:
                found[sampler, steps] = one
    return found


def decimals(values: Iterable[float]) -> int:
    """Digits after the point that show three significant ones of the smallest positive value."""
    sizes = [abs(v) for v in values if math.isfinite(v) and v != 0]
    return min(6, max(0, 2 - math.floor(math.log10(min(sizes))))) if sizes else 2
