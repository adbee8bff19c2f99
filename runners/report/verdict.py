"""The verdict: one sentence, and the tables that it is read from."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from runners.report import markup
from runners.report.comparison import Comparison, Metric, Point
from runners.report.entries import (
    Entry,
    Place,
    averaged,
    digits_of,
    entries,
    most_seeds,
    seeds_note,
    unranked,
)
from runners.report.markup import escape
from runners.report.ranking import best, level, winners
from runners.report.statistics import indistinguishable, number
from runners.report.wording import count, steps_title

ALIKE = 1.5  # numbers of images whose distances are about as biased: at most this ratio


def sentence(comparison: Comparison) -> str:
    """Name the best sampler of each budget of evaluations; plain text."""
    label = comparison.distance.label
    found = winners(comparison)
    if not found:
        return f"No cell has a finite {label}."
    apart = [budget for budget, point in found if point is None]
    if not apart:
        return _ranked(comparison, found)
    text = "not ranked, as no seed is common to all that compete"
    if len(apart) == len(found):
        return f"{label}: {text}."
    return f"{_ranked(comparison, found)} From {apart[0]:,} on: {text}."


def _ranked(comparison: Comparison, found: Iterable[tuple[int, Point | None]]) -> str:
    label = comparison.distance.label
    spans: list[list[tuple[int, Point]]] = []  # neighbouring budgets with one winner
    for budget, point in found:
        if point is None:
            continue
        if spans and _who(comparison, spans[-1][-1][1]) == _who(comparison, point):
            spans[-1].append((budget, point))
        else:
            spans.append([(budget, point)])
    if len(spans) > 1:
        parts = [
            f"{_budgets(span)}: {_who(comparison, span[-1][1])} ({_reached(comparison, *span[-1])})"
            for span in spans
        ]
        return f"Lowest {label} by network evaluations per image: {'; '.join(parts)}."
    (span,) = spans
    winner = _who(comparison, span[-1][1])
    reached = "; ".join(dict.fromkeys(_reached(comparison, *end) for end in (span[0], span[-1])))
    if len(comparison.lines) == 1:
        return f"{winner} reaches {label} {reached} network evaluations per image."
    within = f"With {_budgets(span)} network evaluations per image {winner}"
    return f"{within} has the lowest {label}: {reached}."


def _who(comparison: Comparison, point: Point) -> str:
    return f"{point.sampler} of {point.doc}" if len(comparison.docs) > 1 else point.sampler


def _budgets(span: list[tuple[int, Point]]) -> str:
    low, high = span[0][0], span[-1][0]
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _reached(comparison: Comparison, budget: int, point: Point) -> str:
    """`7.96 ± 0.12 with 100, level with 2 others`; fewer seeds than most are said."""
    digits = digits_of(comparison, comparison.distance)
    text = f"{markup.spread(point.distance, digits)} with {count(point.nfe)}"
    most = most_seeds(comparison, comparison.distance)
    if note := seeds_note(point.distance, comparison.at[point.place].distance, most):
        text += f", {note}"
    others = rivals(comparison, budget, point)
    if not others:
        return text
    return f"{text}, level with {others[0] if len(others) == 1 else f'{len(others)} others'}"


def rivals(comparison: Comparison, budget: int, winner: Point) -> list[str]:
    """Samplers whose best within a budget of evaluations is not told apart from the winner."""
    found = []
    field = level(p for p in comparison.points if p.nfe <= budget)
    for line in comparison.lines:
        point = best(p for p in field if p.line == line)
        if point is None or line == winner.line:
            continue
        if indistinguishable(winner.distance, point.distance):
            found.append(_who(comparison, point))
    return found


def section(comparison: Comparison) -> str:
    """The table of distances with the yardstick below it, and folded tables of other metrics."""
    distance, *others = comparison.metrics
    shown = entries(comparison, distance)
    return markup.section(
        "verdict",
        "Verdict",
        f"<p><b>{escape(distance.label)}</b>, lower is better: {averaged(shown)}.</p>",
        _table(comparison, distance, shown),
        _legend(comparison, shown),
        _yardstick(comparison),
        *(markup.details(escape(metric.label), _table(comparison, metric)) for metric in others),
    )


def _legend(comparison: Comparison, shown: Mapping[Place, Entry]) -> str:
    marks = {entry.mark for entry in shown.values()}
    words = []
    if "best" in marks:
        words.append(
            '<span class="best">Bold</span>: the best of its column, whatever it costs, so look at '
            "its NFE (network evaluations per image)."
        )
        if any(entry.stat.n > 1 for entry in shown.values()):
            words.append(
                "≈, level: not told apart from the best: zero lies in the 95 % interval of the "
                "difference (Student's t, seed by seed, as equal seeds begin with equal noise)."
            )
        else:
            words.append("With one seed the uncertainty is not known.")
    if any(" of " in entry.seeds for entry in shown.values()):
        words.append("A column is over the seeds that all of it have.")
    if apart := unranked(comparison, comparison.distance):
        listed = ", ".join(map(steps_title, apart))
        words.append(f"No seed in common, so nothing is ranked: {listed}.")
    return markup.note(" ".join(words)) if words else ""


def _table(
    comparison: Comparison, metric: Metric, shown: Mapping[Place, Entry] | None = None
) -> str:
    digits, shown = digits_of(comparison, metric), shown or entries(comparison, metric)
    several = len(comparison.docs) > 1
    rows = []
    for doc, sampler in comparison.lines:
        cells = [markup.named(doc if several else "", sampler)]
        for steps in comparison.steps:
            entry = shown.get((doc, sampler, steps))
            if entry is None:
                cells.append(markup.NONE)
                continue
            text = markup.spread(entry.stat, digits) + (" ≈" if entry.mark == "tie" else "")
            nfe = markup.evaluations(comparison.at[doc, sampler, steps].nfe, entry.seeds)
            cells.append(f'<span class="{entry.mark}">{text}</span>{nfe}')
        rows.append(cells)
    return markup.table(["", *map(steps_title, comparison.steps)], rows, "figures")


def _yardstick(comparison: Comparison) -> str:
    """Distance between real images: of as many as a cell has samples from all of them, or between
    two halves of them where a half is about as many.
    """
    n, dataset = comparison.settings.n_samples, comparison.dataset
    same, halves = (number(dataset.get(f"{key}_distance")) for key in ("same_size", "real_halves"))
    images = dataset.get("images")
    if math.isfinite(same):
        words = f"{n:,} random real images are <b>{same:.4g}</b> from all of them"
    elif math.isfinite(halves) and isinstance(images, int) and _alike(n, images // 2):
        words = f"two random halves ({images // 2:,} each) of the real images are "
        words += f"<b>{halves:.4g}</b> apart"
    else:
        return ""
    return f'<p class="yardstick">Yardstick: {words} by the same features.</p>'


def _alike(one: int, other: int) -> bool:
    """Whether distances of so many images, which fall with their number, are about as biased."""
    return one <= ALIKE * other and other <= ALIKE * one
