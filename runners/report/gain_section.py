"""The section of a report that shows gains over a baseline."""

from __future__ import annotations

import math
from collections.abc import Sequence

from runners.report import charts, markup
from runners.report.comparison import Comparison, Doc
from runners.report.line_styles import legend, nth_colour
from runners.report.markup import escape
from runners.report.ranking import baseline, gains
from runners.report.statistics import Gain
from runners.report.wording import seeds, steps_title


def section(comparison: Comparison) -> str:
    """Relative gain of every doc over the baseline, by sampler and number of steps."""
    if len(comparison.docs) < 2:
        return ""
    over = baseline(comparison)
    others = [doc for doc in comparison.docs if doc is not over]
    found = [gains(comparison, over, doc) for doc in others]
    words = (
        f"Gain = 100 (1 - distance / distance of <b>{escape(over.label)}</b>) percent of "
        f"{escape(comparison.distance.label)}: positive means a lower distance than the "
        "baseline's. "
    )
    words += (
        "± is the standard error over the seeds that both have, propagated from both seed by seed, "
        "as equal seeds begin with equal noise; <b>bold</b>: zero lies outside the 95 % interval "
        "(Student's t). Seeds vary the sampling noise only: the spread between two trainings of "
        "the same kind is not in it."
        if any(gain.known for gains_of in found for gain in gains_of.values())
        else "There is no uncertainty: one seed."
    )
    key = legend([(nth_colour(i), name) for i, name in enumerate(comparison.samplers)])
    parts = []
    for i, (doc, gains_of) in enumerate(zip(others, found, strict=True)):
        title, body = escape(doc.label), _block(comparison, over, doc, gains_of)
        few = len(others) <= 3
        parts.append(f"<h3>{title}</h3>{body}" if few else markup.details(title, body, i == 0))
    title = f"Gain over {over.label}"
    return markup.section("gain", title, markup.note(words), key, "".join(parts))


def _block(
    comparison: Comparison, over: Doc, doc: Doc, found: dict[tuple[str, int | None], Gain]
) -> str:
    """Table and chart of one doc's gains."""
    if not found:
        text = f"No sampler, step count and seed in common with {escape(over.label)}: no gain."
        return markup.note(text)
    most = max(gain.seeds for gain in found.values())
    rows = []
    for sampler in comparison.samplers:
        cells = [escape(sampler)]
        for steps in comparison.steps:
            gain = found.get((sampler, steps))
            if gain is None:
                cells.append(markup.NONE)
                continue
            error = f" ± {gain.error:.1f}" if math.isfinite(gain.error) else ""
            mark = ' class="best"' if gain.clear else ""
            note = seeds(gain.seeds) if gain.seeds < most else ""
            few = f'<span class="nfe few">{note}</span>' if note else ""
            cells.append(f"<span{mark}>{gain.percent:+.1f}{error}</span>{few}")
        rows.append(cells)
    chart = charts.gain_against_nfe(comparison, over.label, doc.label, found)
    table = markup.table(["%", *map(steps_title, comparison.steps)], rows, "figures")
    figure = markup.figure(chart, "Gain in %. Bars: standard error.")
    text = _summed_up(list(found.values()))
    return f'<p>{text}.</p><div class="flow">{table}{figure}</div>'


def _summed_up(found: Sequence[Gain]) -> str:
    better = sum(gain.percent > 0 for gain in found)
    lowest, highest = (f(gain.percent for gain in found) for f in (min, max))
    text = f"Lower distance in {better} of {len(found)} places, {lowest:+.1f} to {highest:+.1f} %; "
    clear = [gain.percent > 0 for gain in found if gain.clear]
    unknown = sum(not gain.known for gain in found)
    if unknown == len(found):
        return f"{text}how clearly is not known: one seed"
    text += f"clearly lower in {sum(clear)}, clearly higher in {len(clear) - sum(clear)}"
    return f"{text}, not known in {unknown}: one seed" if unknown else text
