"""The section of a report that shows training curves."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from runners.report import charts, markup
from runners.report.comparison import Comparison
from runners.report.line_styles import Style, legend, nth_colour
from runners.report.training_curves import read_curve


def section(comparison: Comparison, runs: Mapping[str, Path]) -> str:
    """Loss curves of the docs whose runs have a metrics.jsonl. runs: their folders, by label or by
    name; a doc that is not named is looked for where its sweep says.
    """
    found, losses = [], set()
    for doc in comparison.runs:
        folder = runs.get(doc.label) or runs.get(doc.name) or Path(doc.run.run)
        if curve := read_curve(doc.label, folder):
            found.append(curve)
            losses.add(str(doc.run.section("loss")))
    if not found:
        return ""
    caption = "Faint: as written. Full: running geometric mean. Hollow markers: held-out images."
    if len(losses) > 1:
        caption += " The docs minimise different losses: heights do not compare."
    body = markup.figure(charts.training(found), caption)
    key = legend([(Style(nth_colour(i).colour), one.title) for i, one in enumerate(found)])
    return markup.section("training", "Training", key, f'<div class="lead">{body}</div>')
