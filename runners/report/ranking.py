"""Points ranked: the best of each budget, the Pareto front, gains over a baseline."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from runners.record.sweep_settings import MAIN
from runners.report.comparison import Comparison, Doc, Point
from runners.report.statistics import Gain, gain, indistinguishable


def finite(points: Iterable[Point], metric: str = MAIN) -> list[Point]:
    """Points whose value of a metric is a number."""
    return [point for point in points if math.isfinite(point.figures[metric].mean)]


def level(points: Iterable[Point], metric: str = MAIN) -> list[Point]:
    """Points whose value is a number, each over only the seeds that all of them have.

    Empty where they have no seed in common. Whatever is ranked must be level: another seed is other
    noise.
    """
    able = finite(points, metric)
    if not able:
        return []
    seeds = set.intersection(*(set(point.figures[metric].by_seed) for point in able))
    return [point.over(seeds) for point in able] if seeds else []


def best(points: Iterable[Point], metric: str = MAIN, lower: bool | None = True) -> Point | None:
    """The level point with the best mean; of equal ones that of fewer evaluations.

    lower: whether lower is better. None where no point has a number, where they have no seed in
    common, and where the direction is not known.
    """
    if lower is None:
        return None
    sign = 1 if lower else -1
    ranked = sorted(level(points, metric), key=lambda p: (sign * p.figures[metric].mean, p.nfe))
    return ranked[0] if ranked else None


def winners(comparison: Comparison) -> list[tuple[int, Point | None]]:
    """(budget, best point that needs at most so many evaluations), from the first budget that is
    enough for a point.

    Budgets: every number of steps that was asked for, and the largest number of evaluations. None
    where the competing points have no seed in common.
    """
    points = finite(comparison.points)
    asked = {steps for steps in comparison.steps if steps is not None}
    budgets = asked | ({math.ceil(max(p.nfe for p in points))} if points else set())
    fields = ((b, [p for p in points if p.nfe <= b]) for b in sorted(budgets))
    return [(budget, best(field)) for budget, field in fields if field]


def timed(points: Iterable[Point]) -> list[Point]:
    """Level points with a distance and a time."""
    return level(point for point in points if point.seconds.mean > 0)


def pareto(points: Sequence[Point]) -> list[Point]:
    """Level points that no other beats in both mean seconds per image and mean distance, by
    seconds.
    """
    front: list[Point] = []
    for point in sorted(points, key=lambda p: (p.seconds.mean, p.distance.mean)):
        if not front or point.distance.mean < front[-1].distance.mean:
            front.append(point)
    return front


def beside(front: Sequence[Point], points: Sequence[Point]) -> list[Point]:
    """Level points off the Pareto front that are not told apart from it: every point that beats
    them does so by less than the 95 % intervals of both differences.
    """

    def clearly(one: Point, other: Point) -> bool:
        pairs = ((one.seconds, other.seconds), (one.distance, other.distance))
        beats = all(better.mean <= than.mean for better, than in pairs)
        return beats and not all(indistinguishable(*pair) for pair in pairs)

    off = (point for point in points if point not in front)
    return [point for point in off if not any(clearly(one, point) for one in front)]


def baseline(comparison: Comparison) -> Doc:
    """Baseline of gains: the first doc trained with the plain loss and sampled without an eps
    scale; the first of all where there is none.
    """
    plain = [doc for doc in comparison.docs if (doc.loss, doc.recipe.scale) == ("simple", "none")]
    return (plain or comparison.docs)[0]


def gains(comparison: Comparison, over: Doc, doc: Doc) -> dict[tuple[str, int | None], Gain]:
    """Gain of a doc over another by (sampler, steps), where both have a distance."""
    found = {}
    for (label, sampler, steps), point in comparison.at.items():
        other = comparison.at.get((doc.label, sampler, steps))
        if label == over.label and other is not None:
            one = gain(point.distance, other.distance)
            if one is not None:
                found[sampler, steps] = one
    return found
