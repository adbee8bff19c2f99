"""Convergence of training schemes: quality by images seen, and the images for equal quality."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import NormalDist

import numpy as np
from scipy.special import stdtrit

from runners.report.comparison import Comparison, Point
from runners.report.ranking import level
from runners.report.schemes import Scheme, schemes
from runners.report.statistics import CONFIDENCE

SHARES = (1.0, 0.5, 0.25)  # of the baseline's images, after which its quality is a level to reach
LEVELS = 64  # levels over which the ratio of all levels is averaged
RESAMPLES = 2000  # of the bootstrap
ROUNDING = 1e-9  # of a logarithm
BELOW, EXACT, ABOVE = -1, 0, 1  # a number is an upper bound, known, a lower bound


@dataclass(frozen=True)
class Curve:
    """Quality (lower is better) of a scheme's runs at the snapshots that all of them have.

    images: (S,) ascending; values: (R, S), a row for each run, in the order of `runs`;
    left_out: number of snapshots that not all runs have.
    """

    label: str
    runs: tuple[str, ...]
    images: np.ndarray
    values: np.ndarray
    left_out: int = 0

    @cached_property
    def mean(self) -> np.ndarray:
        """Mean over runs, (S,)."""
        return self.values.mean(0)

    @property
    def band(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Lowest and highest run at every snapshot; None for a single run."""
        return (self.values.min(0), self.values.max(0)) if len(self.runs) > 1 else None


@dataclass(frozen=True)
class Bound:
    """A number. kind: BELOW where it is at most this one, ABOVE where at least, EXACT otherwise."""

    value: float
    kind: int = EXACT


@dataclass(frozen=True)
class Ratio:
    """Images that the baseline needs for a quality, divided by those of another scheme.

    level: the quality, NaN for the geometric mean over all levels that both reach; images: of the
    baseline and of the other scheme, NaN likewise; low, high: ends of the 95 % interval, None where
    a scheme has one run.
    """

    share: float | None
    level: float
    images: tuple[float, Bound]
    ratio: Bound
    low: Bound | None = None
    high: Bound | None = None


@dataclass(frozen=True)
class Setting:
    """Curves that were measured with one sampler and number of steps, the baseline's first.

    ratios: by label of every other scheme.
    """

    sampler: str
    steps: int | None
    nfe: float
    curves: list[Curve]
    ratios: dict[str, list[Ratio]]


@dataclass(frozen=True)
class Convergence:
    """Curves of all snapshots of a comparison, which is about nothing else, by setting."""

    comparison: Comparison
    settings: list[Setting]


def converged(whole: Comparison) -> Convergence | None:
    """Draw the curves of the snapshots in a comparison, for each sampler and number of steps; None
    where it has none.
    """
    if (comparison := whole.snapshots) is None:
        return None
    found = []
    grouped = schemes(comparison.docs)
    for sampler, steps in dict.fromkeys((p.sampler, p.steps) for p in comparison.points):
        points = [p for p in comparison.points if (p.sampler, p.steps) == (sampler, steps)]
        at = {point.doc: point for point in level(points)}
        curves = [curve for scheme in grouped if (curve := curve_of(scheme, at)) is not None]
        if curves:
            base, *others = curves
            ratios = {other.label: ratios_of(base, other) for other in others}
            found.append(Setting(sampler, steps, points[0].nfe, curves, ratios))
    return Convergence(comparison, found)


def curve_of(scheme: Scheme, at: dict[str, Point]) -> Curve | None:
    """The curve of a scheme. at: points by label of the snapshot. None where its runs have no
    snapshot in common.
    """
    by_run = {
        name: {d.run.images_seen: at[d.label].distance.mean for d in docs if d.label in at}
        for name, docs in scheme.runs.items()
    }
    by_run = {name: values for name, values in by_run.items() if values}
    if not by_run:
        return None
    common = sorted(set.intersection(*(set(values) for values in by_run.values())))
    if not common:
        return None
    values = np.array([[of[images] for images in common] for of in by_run.values()])
    every = set().union(*by_run.values())
    return Curve(
        scheme.label, tuple(by_run), np.array(common, float), values, len(every) - len(common)
    )


def reach(
    images: np.ndarray, values: np.ndarray, levels: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Images (L,) after which the running minimum of values (S,) is first at most each level, and
    what kind of number that is (L,).

    Between snapshots the logarithm of images is linear in that of the value. A level that the first
    snapshot is below has been reached earlier (BELOW the first images); one that is never reached
    needs more (ABOVE the last).
    """
    tiny = np.finfo(float).tiny
    lowest = np.log(np.maximum(np.minimum.accumulate(values), tiny))
    logs, targets = np.log(images), np.log(np.maximum(levels, tiny))
    after = np.searchsorted(-lowest, -targets - ROUNDING)  # the first snapshot that reaches it
    inner = np.clip(after, 1, len(logs) - 1) if len(logs) > 1 else np.zeros_like(after)
    before = np.maximum(inner - 1, 0)
    step = lowest[before] - lowest[inner]
    part = np.divide(lowest[before] - targets, step, out=np.zeros_like(targets), where=step > 0)
    found = logs[before] + np.clip(part, 0, 1) * (logs[inner] - logs[before])
    found = np.where(after == 0, logs[0], np.where(after == len(logs), logs[-1], found))
    kinds = np.where(after == len(logs), ABOVE, EXACT)
    kinds = np.where((after == 0) & (lowest[0] < targets - ROUNDING), BELOW, kinds)
    return np.exp(found), kinds


def ratios_of(base: Curve, other: Curve) -> list[Ratio]:
    """Ratios of images at the quality that the baseline has after SHARES of its images, and their
    geometric mean over all levels that both reach.

    The interval is a percentile bootstrap over the runs of both, drawn independently, widened for
    their small numbers; levels are those of the drawn baseline.
    """
    shares = [share for share in SHARES if share * base.images[-1] >= base.images[0]]
    levels, images, reached, kinds, ratio = _compare(base, other, base.mean, other.mean, shares)
    ends: list[tuple[Bound | None, Bound | None]] = [(None, None)] * len(ratio)
    if len(base.runs) > 1 and len(other.runs) > 1:
        rng = np.random.default_rng(0)
        drawn = [
            _compare(base, other, _resampled(base, rng), _resampled(other, rng), shares)
            for _ in range(RESAMPLES)
        ]
        columns = zip(*(one[4] for one in drawn), strict=True)
        column_kinds = zip(*(one[3] for one in drawn), strict=True)
        widened = _widening(base, other)
        ends = [
            _interval(column, kind, centre, widened)
            for column, kind, centre in zip(columns, column_kinds, ratio, strict=True)
        ]
    found = []
    for i, share in enumerate([*shares, None]):
        both = (math.nan, Bound(math.nan))
        if share is not None:
            both = (images[i], Bound(reached[i], int(kinds[i])))
        level = levels[i] if share is not None else math.nan
        if not math.isnan(ratio[i]):
            found.append(Ratio(share, level, both, Bound(ratio[i], -int(kinds[i])), *ends[i]))
    return found


def _resampled(curve: Curve, rng: np.random.Generator) -> np.ndarray:
    """Mean of as many runs as the curve has, drawn with replacement."""
    return curve.values[rng.integers(len(curve.runs), size=len(curve.runs))].mean(0)


def _compare(
    base: Curve, other: Curve, one: np.ndarray, two: np.ndarray, shares: Sequence[float]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(levels, images of the baseline, of the other, kinds of these, ratios) at every share; the
    last kind and ratio are of all levels that both reach. one, two: values of the two schemes.
    """
    lowest = np.log(np.maximum(np.minimum.accumulate(one), np.finfo(float).tiny))
    at = np.log(np.array(shares) * base.images[-1])
    levels = np.exp(np.interp(at, np.log(base.images), lowest))
    images, _ = reach(base.images, one, levels)
    reached, kinds = reach(other.images, two, levels)
    high, low = min(one[0], two[0]), max(one.min(), two.min())
    over_all = math.nan
    if 0 < low < high:
        shared = np.exp(np.linspace(np.log(high), np.log(low), LEVELS))
        both = (reach(base.images, one, shared)[0], reach(other.images, two, shared)[0])
        over_all = float(np.exp(np.log(both[0] / both[1]).mean()))
    ratios = np.r_[images / reached, over_all]
    return levels, images, reached, np.r_[kinds, EXACT], ratios


def _interval(
    ratios: Sequence[float], kinds: Sequence[int], centre: float, widened: float
) -> tuple[Bound | None, Bound | None]:
    """Ends of the 95 % interval; a ratio that is a bound counts as beyond every number there.

    widened: by how much the logarithms of the ends move away from that of the centre.
    """
    known = [(r, -int(k)) for r, k in zip(ratios, kinds, strict=True) if not math.isnan(r)]
    if not known:
        return None, None
    ordered = sorted(known, key=lambda one: (one[1], one[0]))
    last = len(ordered) - 1
    ends = ordered[math.floor((1 - CONFIDENCE) * last)], ordered[math.ceil(CONFIDENCE * last)]
    low, high = (
        Bound(end if kind == open_to else centre * (end / centre) ** widened, kind)
        for (end, kind), open_to in zip(ends, (BELOW, ABOVE), strict=True)
    )
    return low, high


def _widening(base: Curve, other: Curve) -> float:
    """Factor by which a bootstrap over so few runs is too narrow: it takes n for n - 1 and the
    normal for Student's t distribution.
    """
    one, two = len(base.runs), len(other.runs)
    fewest = min(one, two)
    quantile = float(stdtrit(one + two - 2, CONFIDENCE)) / NormalDist().inv_cdf(CONFIDENCE)
    return math.sqrt(fewest / (fewest - 1)) * quantile
