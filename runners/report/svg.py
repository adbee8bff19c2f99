"""Axes of a chart, and the chart as inline SVG that follows the colours of the document."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from html import escape
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

from runners.report.line_styles import FAINT, INK, PALETTE, PAPER, variable

# Inches at 72 units each: about as many units as a phone has CSS pixels, so text is shown there in
# the size that is set here.
WIDTH, HEIGHT, FONT = 4.7, 3.3, 10.5
STYLE: Any = {
    "svg.fonttype": "none",  # text as text
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
LINEAR_UP_TO = 6  # values that vary by a larger factor are shown on a log axis


@contextmanager
def chart(name: str, height: float = HEIGHT) -> Iterator[tuple[Axes, list[str]]]:
    """Open axes to draw on; on leaving, the list holds the finished SVG."""
    done: list[str] = []
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": name}):  # the same ids every time
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        FigureCanvasSVG(figure)
        yield figure.add_subplot(), done
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    done.append(finish(buffer.getvalue(), name))


def finish(svg: str, name: str) -> str:
    """Make matplotlib's SVG fit for a document: responsive, named, colours as CSS variables.

    Its style sheet (which would hold for the whole document), its metadata, and the ids that
    nothing refers to (which would occur once per chart) are removed.
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


def log_x(axes: Axes, values: Sequence[float]) -> None:
    """Make x a log axis with room around the positive values."""
    axes.set_xscale("log")
    positive = [v for v in values if v > 0]
    if positive:
        room = 2 if max(positive) < 1.5 * min(positive) else 1.15
        axes.set_xlim(min(positive) / room, max(positive) * room)
    plain_log(axes.xaxis, axes.get_xlim())


def scale_y(axes: Axes, values: Sequence[float], covered: Sequence[float], log: bool) -> None:
    """Make room for values and the ends of their bars (covered). log: a log axis is allowed; it is
    taken for positive values that vary by a large factor.
    """
    if log and values and 0 < LINEAR_UP_TO * min(values) < max(values):
        covered = [v for v in covered if v > 0.3 * min(values)]  # a bar may end at zero or below
        low, high = min([*values, *covered]), max([*values, *covered])
        axes.set_yscale("log", nonpositive="clip")
        axes.set_ylim(low / 1.2, high * 1.2)
        plain_log(axes.yaxis, (low, high))
    else:
        low, high = min([*values, *covered], default=0), max([*values, *covered], default=1)
        room = 0.08 * (high - low) or 0.05 * abs(high) or 1
        axes.set_ylim(low - room, high + room)
        axes.yaxis.set_major_locator(MaxNLocator(6))


def plain_number(value: float) -> str:
    """A number on an axis: 0.5, 2,000, 500k, 25.6M."""
    for size, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= max(size, 1e4):
            return f"{value / size:g}{suffix}"
    return f"{value:,g}"


def plain_log(axis: Axis, values: Sequence[float] | np.ndarray) -> None:
    """Label a log axis by plain numbers: 1, 2, 5 of each decade, or 1 alone where there are many
    decades.
    """
    span = math.log10(max(values) / min(values)) if len(values) else 0
    dense = ((0.6, (1, 1.5, 2, 3, 4, 5, 6, 8)), (1.1, (1, 2, 3, 5)), (3.2, (1, 2, 5)))
    axis.set_major_locator(LogLocator(subs=next((s for most, s in dense if span < most), (1,))))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())
    axis.set_minor_locator(NullLocator())
