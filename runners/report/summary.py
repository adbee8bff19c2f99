"""The statistics of a report: means over seeds, who is best, relative gain, the Pareto front."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
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


def stat(by_seed: dict[int, float]) -> Stat:
    """Statistics of what is finite among the values."""
    kept = {seed: value for seed, value in by_seed.items() if math.isfinite(value)}
    found = np.array(list(kept.values()), dtype=np.float64)
    mean = float(found.mean()) if len(found) else math.nan
    return Stat(mean, float(found.std(ddof=1)) if len(found) > 1 else math.nan, kept)


@dataclass(frozen=True)
class Difference:
    """A difference of two means, its standard error and the reach of its 95 % interval on either
    side (Student's t); both NaN where a seed alone says nothing of its spread.
    """

    value: float
    error: float
    reach: float


def difference(one: Stat, other: Stat, ratio: float = 1.0) -> Difference:
    """`one.mean - ratio other.mean`. Equal seeds mean equal noise, and figures of equal seeds vary
    together: where the seeds are the same they are subtracted seed by seed, elsewhere the two are
    taken as independent.
    """
    if one.by_seed.keys() == other.by_seed.keys():
        paired = {s: value - ratio * other.by_seed[s] for s, value in one.by_seed.items()}
        error = stat(paired).error
    else:
        error = math.hypot(one.error, ratio * other.error)
    freedom = min(one.n, other.n) - 1
    quantile = float(stdtrit(freedom, 0.975)) if freedom > 0 else math.nan
    return Difference(one.mean - ratio * other.mean, error, quantile * error)


def finite(points: Iterable[Point], key: str = "distance") -> list[Point]:
    """The points whose figure is a number."""
    return [point for point in points if math.isfinite(point.figures[key].mean)]


def best(points: Iterable[Point], key: str = "distance", lower: bool = True) -> Point | None:
    """The point with the best mean; of equals the one of fewer evaluations. None of no number."""
    sign = 1 if lower else -1
    ranked = sorted(finite(points, key), key=lambda p: (sign * p.figures[key].mean, p.nfe))
    return ranked[0] if ranked else None


def indistinguishable(one: Stat, other: Stat) -> bool:
    """Whether zero lies in the 95 % interval of the difference. False where nothing is known."""
    found = difference(one, other)
    return abs(found.value) <= found.reach


def winners(study: Study) -> list[tuple[int, Point]]:
    """(budget, best point that needs at most so many evaluations) for every step count that was
    asked for, and for the largest number of evaluations.
    """
    points = finite(study.points)
    asked = {steps for steps in study.steps if steps is not None}
    budgets = asked | ({math.ceil(max(p.nfe for p in points))} if points else set())
    found = []
    for budget in sorted(budgets):
        winner = best(p for p in points if p.nfe <= budget)
        if winner is not None:
            found.append((budget, winner))
    return found


def pareto(points: Sequence[Point]) -> list[Point]:
    """Those that no other point beats in both seconds per image and distance, by seconds."""
    front: list[Point] = []
    timed = [p for p in finite(points) if p.seconds.mean > 0]
    for point in sorted(timed, key=lambda p: (p.seconds.mean, p.distance.mean)):
        if not front or point.distance.mean < front[-1].distance.mean:
            front.append(point)
    return front


@dataclass(frozen=True)
class Gain:
    """How much lower one distance is than a baseline's, in percent of the baseline's, with its
    standard error and the reach of its 95 % interval (NaN where either has one seed).
    """

    percent: float
    error: float
    reach: float

    @property
    def clear(self) -> bool:
        """Whether zero lies outside the 95 % interval."""
        return abs(self.percent) > self.reach


def gain(base: Stat, other: Stat) -> Gain | None:
    """100 (1 - other / base), the uncertainty propagated to first order from both, with what the
    seeds have in common; None where it is not defined.
    """
    if not (math.isfinite(base.mean) and math.isfinite(other.mean) and base.mean > 0):
        return None
    ratio = other.mean / base.mean
    spread = difference(other, base, ratio)
    percent = 100 / base.mean
    return Gain(100 * (1 - ratio), percent * spread.error, percent * spread.reach)


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
