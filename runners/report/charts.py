"""Charts of a report, each as inline SVG."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from runners.report import published
from runners.report.comparison import Comparison, Metric, Point
from runners.report.convergence import Curve as Convergence
from runners.report.line_styles import FAINT, INK, PAPER, Style, nth_colour
from runners.report.loss_by_time import ByTime
from runners.report.ranking import finite
from runners.report.statistics import Gain, Stat
from runners.report.svg import chart, log_x, plain_log, plain_number, scale_y
from runners.report.training_curves import Curve
from runners.report.wording import images

ALONG = {"steps": "training step", "images": "training images seen", "hours": "hours of training"}
TIMES = "training time, from the cleanest (0) to the noisiest (1)"
NFE = "network evaluations per image (log)"
Look = Callable[[str, str], Style]
Lines = Sequence[tuple[str, str]]  # (doc, sampler)


def against_nfe(
    comparison: Comparison,
    metric: Metric,
    lines: Lines,
    look: Look,
    references: Sequence[published.Curve],
) -> str:
    """Draw a metric against NFE (log axis), one line per (doc, sampler); bars: deviation over
    seeds. References are dotted and begin with the letters a, b, c.

    A chart of some of the comparison's lines has the same axes as a chart of all.
    """
    points = finite(comparison.points, metric.name)
    stats = [p.figures[metric.name] for p in points]
    values = [s.mean for s in stats]
    values += [value for curve in references for value in curve.fid.values()]
    name = f"{metric.label} against network evaluations per image"
    with chart(name) as (axes, svg):
        for doc, sampler in lines:
            line = finite(comparison.line(doc, sampler), metric.name)
            own = [p.figures[metric.name] for p in line]
            means, errors = [s.mean for s in own], [s.std for s in own]
            _bars(axes, [p.nfe for p in line], means, errors, look(doc, sampler), 1.5)
        for letter, curve in zip("abcdefgh", references, strict=False):
            axes.plot(list(curve.fid), list(curve.fid.values()), ":", color=INK, linewidth=1.3)
            begin = next(iter(curve.fid.items()))
            axes.annotate(letter, begin, (-9, -4), textcoords="offset points")
        log_x(axes, [p.nfe for p in points] + [nfe for c in references for nfe in c.fid])
        ends = [end for s in stats for end in _ends(s)]
        scale_y(axes, values, ends, log=metric.unit != "share")
        axes.set_xlabel(NFE)
        axes.set_ylabel(metric.label)
    return svg[0]


def distance_against_time(
    comparison: Comparison,
    points: Sequence[Point],
    front: Sequence[Point],
    look: Look,
    joined: bool,
) -> str:
    """Draw the distance against seconds per image (log axis), the Pareto front as a broad line.

    Bars: deviation over seeds of both. joined: a thin line joins the points of one sampler.
    """
    name = f"{comparison.distance.label} against seconds per image, with the Pareto front"
    with chart(name) as (axes, svg):
        seconds = [p.seconds.mean for p in front]
        distances = [p.distance.mean for p in front]
        axes.step(
            seconds, distances, where="post", color=FAINT, linewidth=7, solid_capstyle="round"
        )
        for doc, sampler in comparison.lines:
            line = [p for p in points if p.line == (doc, sampler)]
            x, y = [p.seconds.mean for p in line], [p.distance.mean for p in line]
            errors, across = [p.distance.std for p in line], [p.seconds.std for p in line]
            _bars(axes, x, y, errors, look(doc, sampler), 0.7 if joined else 0, across)
        # a bar may end at zero or below
        log_x(axes, [max(e, p.seconds.mean / 2) for p in points for e in _ends(p.seconds)])
        ends = [end for p in points for end in _ends(p.distance)]
        scale_y(axes, [p.distance.mean for p in points], ends, log=True)
        axes.set_xlabel("seconds per image (log)")
        axes.set_ylabel(comparison.distance.label)
    return svg[0]


def gain_against_nfe(
    comparison: Comparison, base: str, doc: str, found: Mapping[tuple[str, int | None], Gain]
) -> str:
    """Draw the gain in percent against NFE, one line per sampler; bars: standard error."""
    with chart(f"Gain of {doc} over {base} in percent", height=2.7) as (axes, svg):
        axes.axhline(0, color=INK, linewidth=1)
        shown: list[float] = []
        for index, sampler in enumerate(comparison.samplers):
            line = [p for p in comparison.line(doc, sampler) if (sampler, p.steps) in found]
            gains = [found[sampler, p.steps] for p in line]
            nfe, percents = [p.nfe for p in line], [gain.percent for gain in gains]
            _bars(axes, nfe, percents, [gain.error for gain in gains], nth_colour(index), 1.5)
            shown += nfe
        log_x(axes, shown)
        axes.yaxis.set_major_locator(MaxNLocator(6))
        axes.set_xlabel(NFE)
        axes.set_ylabel("gain in % (higher: better)")
    return svg[0]


def training(curves: Sequence[Curve], axis: str) -> str:
    """Draw training losses (log axis) as written and smoothed; held-out losses as markers."""
    label = ALONG[axis]
    with chart(f"Training loss against {label}") as (axes, svg):
        for index, curve in enumerate(curves):
            style = nth_colour(index)
            axes.plot(curve.x, curve.loss, color=style.colour, alpha=0.3, linewidth=0.8)
            axes.plot(curve.x, curve.smooth, color=style.colour)
            axes.plot(*curve.held_out, style.marker, color=style.colour, markerfacecolor=PAPER)
        axes.set_yscale("log", nonpositive="mask")
        losses = np.concatenate([np.r_[c.loss, c.held_out[1]] for c in curves])
        plain_log(axes.yaxis, losses[losses > 0])
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=axis != "hours"))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: plain_number(x)))
        axes.set_xlabel(label)
        axes.set_ylabel("loss (log)")
    return svg[0]


def loss_by_time(found: Sequence[ByTime | None]) -> str:
    """Draw mean training losses (log axis) by training time; None: of a run without them."""
    with chart("Training loss by training time") as (axes, svg):
        for index, one in enumerate(found):
            if one is not None:
                colour = nth_colour(index).colour
                axes.stairs(one.loss, _edges(one), baseline=None, color=colour)
        axes.set_yscale("log", nonpositive="mask")
        losses = np.concatenate([one.loss for one in found if one is not None])
        plain_log(axes.yaxis, losses[losses > 0])
        axes.set_xlabel(TIMES)
        axes.set_ylabel("loss (log)")
    return svg[0]


def density_of_times(found: Sequence[ByTime | None]) -> str:
    """Draw how often times are drawn: as counted, and by their density where it is known; None: of
    a run without counts.
    """
    with chart("Density of the training times") as (axes, svg):
        for index, one in enumerate(found):
            if one is None:
                continue
            colour = nth_colour(index).colour
            axes.stairs(one.drawn, _edges(one), baseline=None, color=colour, alpha=0.4)
            if one.density is not None:
                axes.stairs(one.density, _edges(one), baseline=None, color=colour)
        axes.set_ylim(bottom=0)
        axes.yaxis.set_major_locator(MaxNLocator(6))
        axes.set_xlabel(TIMES)
        axes.set_ylabel("density (1: even)")
    return svg[0]


def weight_by_time(found: Sequence[ByTime | None]) -> str:
    """Draw weights of losses (log axis) by training time; None: of a run without them."""
    with chart("Weight of the loss by training time") as (axes, svg):
        weights = []
        for index, one in enumerate(found):
            if one is not None and one.weight is not None:
                colour = nth_colour(index).colour
                axes.stairs(one.weight, _edges(one), baseline=None, color=colour)
                weights.append(one.weight)
        axes.set_yscale("log", nonpositive="mask")
        values = np.concatenate(weights)
        plain_log(axes.yaxis, values[values > 0])
        axes.set_xlabel(TIMES)
        axes.set_ylabel("weight of the loss (log)")
    return svg[0]


def _edges(one: ByTime) -> np.ndarray:
    return np.linspace(0, 1, len(one.loss) + 1)


def _ends(stat: Stat) -> list[float]:
    """Ends of a point's bar."""
    spread = stat.std if math.isfinite(stat.std) else 0.0
    return [stat.mean - spread, stat.mean + spread]


def _bars(
    axes: Axes,
    x: Sequence[float],
    y: Sequence[float],
    errors: Sequence[float],
    style: Style,
    width: float,
    across: Sequence[float] = (),
) -> None:
    """Draw a line with bars. errors: up and down; across: left and right."""
    known, timed = (any(map(math.isfinite, spread)) for spread in (errors, across))
    axes.errorbar(
        x,
        y,
        yerr=np.nan_to_num(errors) if known else None,
        xerr=np.nan_to_num(across) if timed else None,
        color=style.colour,
        marker=style.marker,
        markerfacecolor=PAPER if style.hollow else style.colour,
        linestyle=style.line,
        linewidth=width,
        elinewidth=1,
        capsize=2,
    )


def against_images(label: str, curves: Sequence[Convergence]) -> str:
    """Draw quality against images seen (log axis), a line with its band for each scheme."""
    with chart(f"{label} against training images seen", height=3.6) as (axes, svg):
        values: list[float] = []
        for index, curve in enumerate(curves):
            style = nth_colour(index)
            if curve.band is not None:
                axes.fill_between(
                    curve.images, *curve.band, color=style.colour, alpha=0.18, linewidth=0
                )
                values += [float(end) for ends in curve.band for end in ends]
            axes.plot(
                curve.images, curve.mean, color=style.colour, marker=style.marker, markersize=4
            )
            values += curve.mean.tolist()
        log_x(axes, [x for curve in curves for x in curve.images])
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: images(x)))
        scale_y(axes, values, [], log=True)
        axes.set_xlabel("training images seen (log)")
        axes.set_ylabel(label)
    return svg[0]
