"""Sections of a report that show quality: against evaluations, and against time."""

from __future__ import annotations

from collections.abc import Sequence

from runners.report import charts, markup, published
from runners.report.comparison import Comparison, Metric, Point
from runners.report.entries import digits_of
from runners.report.line_styles import Styles
from runners.report.markup import escape
from runners.report.ranking import beside, finite, pareto, timed
from runners.report.statistics import decimals
from runners.report.wording import seeds, steps_title

CROWDED = 16  # lines beyond which they share no chart
SHORT = 10  # rows of a table up to which it is not folded


def styles(comparison: Comparison) -> Styles:
    """One look for every line, the same in all charts."""
    return Styles([doc.label for doc in comparison.docs], comparison.samplers)


def evaluations(comparison: Comparison) -> str:
    """Distance against NFE with published curves, and small charts of the other metrics."""
    if not finite(comparison.points):
        return ""
    look, distance = styles(comparison), comparison.distance
    shown, words = _references(comparison)
    several = any(p.distance.n > 1 for p in comparison.points)
    bars = " Points: means over the seeds of each." if several else ""
    bars += " Bars: standard deviation over them." if several else ""
    caption = f"{escape(distance.label)} against NFE.{bars} {words}"
    others = [m for m in comparison.metrics[1:] if finite(comparison.points, m.name)]
    if len(comparison.lines) <= CROWDED:
        lines = comparison.lines
        charted = [(distance, shown, caption), *((m, (), _caption(m)) for m in others)]
        figures = [
            markup.figure(charts.against_nfe(comparison, metric, lines, look, references), text)
            for metric, references, text in charted
        ]
        body = f'{look.legend()}<div class="beside">{"".join(figures)}</div>'
    else:
        rest = [markup.details(_caption(m), _panels(comparison, m, ())) for m in others]
        body = f"{look.legend(dashes=False)}{_panels(comparison, distance, shown)}"
        body += markup.note(caption) + "".join(rest)
    return markup.section("distance", "Quality against evaluations", body)


def _panels(comparison: Comparison, metric: Metric, references: Sequence[published.Curve]) -> str:
    """One chart for each doc, or for each sampler, whichever are fewer; their axes are equal."""
    look = styles(comparison)
    found = [
        f"<div><h3>{escape(name)}</h3>"
        f"{markup.figure(charts.against_nfe(comparison, metric, lines, look, references))}</div>"
        for name, lines in look.groups(comparison.lines).items()
    ]
    return f'<div class="beside">{"".join(found)}</div>'


def _caption(metric: Metric) -> str:
    direction = metric.direction or "not known here whether lower is better"
    return f"{escape(metric.label)}: {direction}."


def _references(comparison: Comparison) -> tuple[Sequence[published.Curve], str]:
    """Published curves to draw, and the words about them.

    An FID is drawn beside an FID only: a distance in other features has another scale.
    """
    names = {str(cell.measured.recipe.sampler.get("name")) for cell in comparison.cells}
    dataset = str(comparison.dataset.get("dataset"))
    found = published.curves(dataset, comparison.shape[2], names)
    if not found:
        return (), ""
    ours = comparison.distance.label
    if ours.split("-")[0] == "FID":
        named = "; ".join(
            f"<b>{letter}</b> {escape(c.title)} (arXiv {c.source})"
            for letter, c in zip("abcdefgh", found, strict=False)
        )
        return found, (
            f"Dotted, published, FID of 50,000 samples of the papers' own networks: {named}. "
            f"Ours is {escape(ours)}."
        )
    listed = "; ".join(
        f"{escape(c.title)} (arXiv {c.source}): "
        + ", ".join(f"{fid:g} at {nfe}" for nfe, fid in c.fid.items())
        for c in found
    )
    return (), (
        f"Published figures are FID of 50,000 samples; {escape(ours)} has another scale, so they "
        f"are not drawn here. By NFE: {listed}."
    )


def time(comparison: Comparison) -> str:
    """Distance against seconds per image, and the points of the Pareto front."""
    ranked = timed(comparison.points)
    points = ranked or [p for p in finite(comparison.points) if p.seconds.mean > 0]
    if not points:
        return ""
    front = pareto(ranked)
    look = styles(comparison)
    devices = {str(cell.measured.device) for cell in comparison.cells}
    caption = f"Measured on {escape(', '.join(sorted(devices)))}" + (
        ": times of different devices are not comparable." if len(devices) > 1 else "."
    )
    joined = len(comparison.lines) <= CROWDED
    if not joined:
        caption += " Too many lines to tell all apart here: colours and markers only."
    if any(p.seconds.n > 1 for p in points):
        caption += " Bars: standard deviation over seeds."
    chart = charts.distance_against_time(comparison, points, front, look, joined)
    chart = markup.figure(chart, caption)
    listed = _front(comparison, front, points)
    return markup.section(
        "time",
        "Quality against time",
        f'<div class="beside"><div>{look.legend(joined)}{chart}</div><div>{listed}</div></div>',
    )


def _front(comparison: Comparison, front: Sequence[Point], points: Sequence[Point]) -> str:
    """Table of the Pareto front and of the points that are not told apart from it."""
    if not front:
        return markup.note("No front: the points have no seed in common.")
    tied, digits = beside(front, points), digits_of(comparison, comparison.distance)
    several = len(comparison.docs) > 1
    rows = [
        [
            markup.named(p.doc if several else "", p.sampler)
            + f", {steps_title(p.steps)}{' ≈' if p in tied else ''}"
            + markup.evaluations(p.nfe),
            f"{markup.spread(p.seconds, decimals([p.seconds.mean]))} s",
            markup.spread(p.distance, digits),
        ]
        for p in sorted([*front, *tied], key=lambda p: p.seconds.mean)
    ]
    n = front[0].distance.n
    words = f"By the means over {seeds(n)} nothing else is both faster and closer (broad line). "
    if n > 1:
        words += "±: standard deviation over seeds; an order within it is no claim."
    else:
        words += "With one seed the spread of times and distances is not known."
    words += " ≈: off the line, but not told apart from it at 95 %." if tied else ""
    head = ["", "per image", escape(comparison.distance.label)]
    return markup.details(
        f"On the front: {len(front)} of {len(points)}",
        markup.note(words) + markup.table(head, rows, "figures"),
        len(rows) <= SHORT,
    )
