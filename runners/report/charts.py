"""The charts of a report: matplotlib figures as inline SVG that follows the page's colours."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from html import escape
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

from runners.report.curves import Curve as TrainingCurve
from runners.report.published import Curve
from runners.report.study import Metric, Point, Study
from runners.report.style import FAINT, INK, PALETTE, PAPER, Style, nth_colour, variable
from runners.report.summary import Gain, Stat, finite

# Inches at 72 units each: about as many units as a phone has CSS pixels, so text is shown there in
# the size that is set here.
WIDTH, HEIGHT, FONT = 4.7, 3.3, 10.5
STYLE: Any = {
    "svg.fonttype": "none",  # text as text
    "svg.hashsalt": "report",  # the same ids, hence the same file, every time
    "font.family": "sans-serif",
    "font.size": FONT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.grid": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.7,
    "axes.axisbelow": True,
    "lines.linewidth": 1.5,
    "lines.markersize": 5.5,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "path.simplify_threshold": 0.5,
}
LINEAR_UP_TO = 6  # a figure that varies by more is shown on a log axis

Look = Callable[[str, str], Style]
Lines = Sequence[tuple[str, str]]  # (doc, sampler)


def against_nfe(
    study: Study, metric: Metric, lines: Lines, look: Look, references: Sequence[Curve]
) -> str:
    """A figure against NFE (log axis), one line per (doc, sampler), bars: std over seeds.
    Published references are dotted and begin with the letters a, b, c. Charts of some of the
    study's lines have the same axes as that of all.
    """
    points = finite(study.points, metric.key)
    values = [p.figures[metric.key].mean for p in points]
    covered = [edge for p in points for edge in _covered(p.figures[metric.key])]
    values += [value for curve in references for value in curve.fid.values()]
    name = f"{metric.label} against network evaluations per image"
    with _chart(name) as (axes, svg):
        for doc, sampler in lines:
            line = finite(study.line(doc, sampler), metric.key)
            stats = [p.figures[metric.key] for p in line]
            _line(axes, [p.nfe for p in line], stats, look(doc, sampler))
        for letter, curve in zip("abcdefgh", references, strict=False):
            axes.plot(list(curve.fid), list(curve.fid.values()), ":", color=INK, linewidth=1.3)
            begin = next(iter(curve.fid.items()))
            axes.annotate(letter, begin, (-9, -4), textcoords="offset points")
        _log_x(axes, [p.nfe for p in points] + [nfe for c in references for nfe in c.fid])
        _scale_y(axes, values, covered, metric.key not in ("precision", "recall"))
        axes.set_xlabel("network evaluations per image (log)")
        axes.set_ylabel(metric.label)
    return svg[0]


def time_against_distance(
    study: Study, points: Sequence[Point], front: Sequence[Point], look: Look, joined: bool
) -> str:
    """Distance against seconds per image (log axis), the Pareto front as a broad line; bars: std
    over seeds of both. joined: the points of one sampler by a thin line.
    """
    name = f"{study.distance.label} against seconds per image, with the Pareto front"
    with _chart(name) as (axes, svg):
        seconds = [p.seconds.mean for p in front]
        distances = [p.distance.mean for p in front]
        axes.step(
            seconds, distances, where="post", color=FAINT, linewidth=7, solid_capstyle="round"
        )
        for doc, sampler in study.lines:
            line = [p for p in points if (p.doc, p.sampler) == (doc, sampler)]
            x, y = [p.seconds.mean for p in line], [p.distance.mean for p in line]
            errors, across = [p.distance.std for p in line], [p.seconds.std for p in line]
            _bars(axes, x, y, errors, look(doc, sampler), 0.7 if joined else 0, across)
        edges = [max(e, p.seconds.mean / 2) for p in points for e in _covered(p.seconds)]
        _log_x(axes, edges)  # a bar may end at zero or below
        covered = [edge for p in points for edge in _covered(p.distance)]
        _scale_y(axes, [p.distance.mean for p in points], covered, True)
        axes.set_xlabel("seconds per image (log)")
        axes.set_ylabel(study.distance.label)
    return svg[0]


def gain_against_nfe(
    study: Study, base: str, doc: str, found: dict[tuple[str, int | None], Gain]
) -> str:
    """Gain in percent against NFE, one line per sampler, bars: standard error."""
    with _chart(f"Gain of {doc} over {base} in percent", height=2.7) as (axes, svg):
        axes.axhline(0, color=INK, linewidth=1)
        shown: list[float] = []
        for index, sampler in enumerate(study.samplers):
            line = [p for p in study.line(doc, sampler) if (sampler, p.steps) in found]
            values = [found[sampler, p.steps] for p in line]
            style = nth_colour(index)
            nfe, percents = [p.nfe for p in line], [v.percent for v in values]
            _bars(axes, nfe, percents, [v.error for v in values], style, 1.5)
            shown += nfe
        _log_x(axes, shown)
        axes.yaxis.set_major_locator(MaxNLocator(6))
        axes.set_xlabel("network evaluations per image (log)")
        axes.set_ylabel("gain in % (higher: better)")
    return svg[0]


def training(curves: Sequence[TrainingCurve]) -> str:
    """Training loss (log axis): as written, faint, and smoothed; held-out loss as markers."""
    with _chart("Training loss against training step") as (axes, svg):
        for index, curve in enumerate(curves):
            style = nth_colour(index)
            axes.plot(curve.steps, curve.loss, color=style.colour, alpha=0.3, linewidth=0.8)
            axes.plot(curve.steps, curve.smooth, color=style.colour)
            axes.plot(*curve.held_out, style.marker, color=style.colour, markerfacecolor=PAPER)
        axes.set_yscale("log", nonpositive="mask")
        losses = np.concatenate([np.r_[c.loss, c.held_out[1]] for c in curves])
        _plain_log(axes.yaxis, losses[losses > 0])
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}"))
        axes.set_xlabel("training step")
        axes.set_ylabel("loss (log)")
    return svg[0]


def _covered(stat: Stat) -> list[float]:
    """The ends of a point's bar."""
    spread = stat.std if math.isfinite(stat.std) else 0.0
    return [stat.mean - spread, stat.mean + spread]


def _line(axes: Axes, x: Sequence[float], stats: Sequence[Stat], style: Style) -> None:
    _bars(axes, x, [s.mean for s in stats], [s.std for s in stats], style, 1.5)


def _bars(
    axes: Axes,
    x: Sequence[float],
    y: Sequence[float],
    errors: Sequence[float],
    style: Style,
    width: float,
    across: Sequence[float] = (),
) -> None:
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


def _log_x(axes: Axes, values: Sequence[float]) -> None:
    axes.set_xscale("log")
    positive = [v for v in values if v > 0]
    if positive:
        room = 2 if max(positive) < 1.5 * min(positive) else 1.15
        axes.set_xlim(min(positive) / room, max(positive) * room)
    _plain_log(axes.xaxis, axes.get_xlim())


def _scale_y(axes: Axes, values: Sequence[float], covered: Sequence[float], log: bool) -> None:
    """Room for all that is covered; a log axis, where allowed, for positive values that vary by
    much.
    """
    if log and values and 0 < LINEAR_UP_TO * min(values) < max(values):
        covered = [v for v in covered if v > 0.3 * min(values)]  # a bar may end at zero or below
        low, high = min([*values, *covered]), max([*values, *covered])
        axes.set_yscale("log", nonpositive="clip")
        axes.set_ylim(low / 1.2, high * 1.2)
        _plain_log(axes.yaxis, (low, high))
    else:
        low, high = min([*values, *covered], default=0), max([*values, *covered], default=1)
        room = 0.08 * (high - low) or 0.05 * abs(high) or 1
        axes.set_ylim(low - room, high + room)
        axes.yaxis.set_major_locator(MaxNLocator(6))


def _plain_log(axis, values: Sequence[float] | np.ndarray) -> None:
    """Plain numbers on a log axis: 1, 2, 5 of each decade, or 1 alone where there are many."""
    span = math.log10(max(values) / min(values)) if len(values) else 0
    dense = ((0.6, (1, 1.5, 2, 3, 4, 5, 6, 8)), (1.1, (1, 2, 3, 5)), (3.2, (1, 2, 5)))
    axis.set_major_locator(LogLocator(subs=next((s for most, s in dense if span < most), (1,))))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())
    axis.set_minor_locator(NullLocator())


@contextmanager
def _chart(name: str, height: float = HEIGHT) -> Iterator[tuple[Axes, list[str]]]:
    """Axes to draw on; on leaving, the list holds the finished SVG."""
    done: list[str] = []
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": name}):
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        FigureCanvasSVG(figure)
        yield figure.add_subplot(), done
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    done.append(finish(buffer.getvalue(), name))


def finish(svg: str, name: str) -> str:
    """Matplotlib's SVG made fit for a page: responsive, named, its colours the page's variables.

    Its style sheet (which would hold for the whole page), metadata and the ids that nothing refers
    to (which would occur once per chart) go.
    """
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", svg, flags=re.S)
    used = set(re.findall(r'(?:href="#|url\(#)([^")]+)', svg))
    svg = re.sub(r' id="([^"]*)"', lambda m: m[0] if m[1] in used else "", svg)
    for shade in (INK, FAINT, PAPER, *(light for light, _ in PALETTE)):
        svg = svg.replace(shade, variable(shade))
    svg = re.sub(r"font-family: [^;\"]*", "font-family: var(--font)", svg)
    box = re.search(r'viewBox="[^"]*"', svg)
    head = f'<svg {box[0] if box else ""} class="chart" role="img" aria-label="{escape(name)}">'
    body = svg[svg.index(">", svg.index("<svg")) + 1 :]
    return re.sub(r">\s+<", "><", head + body)
