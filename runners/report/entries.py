"""Values of a metric as the tables of a report show them, with marks of the best."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from runners.report.comparison import Comparison, Metric
from runners.report.ranking import best, finite, level
from runners.report.statistics import Stat, decimals, indistinguishable
from runners.report.wording import seeds

Place = tuple[str, str, int | None]  # (doc, sampler, steps)


@dataclass(frozen=True)
class Entry:
    """A value in a table. mark: "best", "tie" or empty; seeds: how many it is over, in words, where
    they are fewer than most have.
    """

    stat: Stat
    mark: str
    seeds: str


def entries(comparison: Comparison, metric: Metric) -> dict[Place, Entry]:
    """Entries of all points that have a value, column by column (of equal steps).

    Values are over the seeds that all of the column have. Without such a seed every value is over
    its own seeds, and none is marked; nor is any where the metric's direction is not known.
    """
    found = {}
    most = most_seeds(comparison, metric)
    for steps in comparison.steps:
        column = [point for point in comparison.points if point.steps == steps]
        levelled = {point.line: point for point in level(column, metric.name)}
        first = best(column, metric.name, metric.lower_is_better) if len(column) > 1 else None
        for point in finite(column, metric.name):
            own = point.figures[metric.name]
            stat = levelled.get(point.line, point).figures[metric.name]
            mark = ""
            if first is not None:
                tied = indistinguishable(first.figures[metric.name], stat)
                mark = "best" if point.line == first.line else "tie" if tied else ""
            found[point.place] = Entry(stat, mark, seeds_note(stat, own, most))
    return found


def most_seeds(comparison: Comparison, metric: Metric) -> int:
    """The largest number of seeds that a point has."""
    return max(point.figures[metric.name].n for point in comparison.points)


def seeds_note(stat: Stat, own: Stat, most: int) -> str:
    """`1 of 3 seeds` or `1 seed`, where a value is over fewer seeds than it has, or than most."""
    if stat.n < own.n:
        return f"{stat.n} of {own.n} seeds"
    return seeds(stat.n) if 0 < stat.n < most else ""


def averaged(shown: Mapping[Place, Entry]) -> str:
    """Over how many seeds the values of a table are, in words."""
    numbers = {entry.stat.n for entry in shown.values()}
    found = {seed for entry in shown.values() for seed in entry.stat.by_seed}
    if max(numbers, default=1) == 1:
        return f"one seed ({', '.join(map(str, found))})" if len(found) == 1 else "one seed each"
    unless = " where a figure says no other number" if len(numbers) > 1 else ""
    return f"mean ± standard deviation over {max(numbers)} seeds of the sampling noise{unless}"


def unranked(comparison: Comparison, metric: Metric) -> list[int | None]:
    """Numbers of steps whose points have no seed in common."""
    columns = {s: [p for p in comparison.points if p.steps == s] for s in comparison.steps}
    return [
        steps
        for steps, column in columns.items()
        if finite(column, metric.name) and not level(column, metric.name)
    ]


def digits_of(comparison: Comparison, metric: Metric) -> int:
    """Digits after the point of a metric in tables."""
    if metric.unit == "share":
        return 3
    return decimals(point.figures[metric.name].mean for point in comparison.points)


def plain(stat: Stat, digits: int) -> str:
    """Mean and, from two seeds on, standard deviation, as plain text without grouping."""
    text = f"{stat.mean:.{digits}f}"
    return f"{text} ± {stat.std:.{digits}f}" if math.isfinite(stat.std) else text
