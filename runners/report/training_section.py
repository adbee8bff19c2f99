"""The section of a report that shows how its runs were trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from runners.report import charts, markup
from runners.report.comparison import Comparison, Doc
from runners.report.line_styles import Style, legend, nth_colour
from runners.report.loss_by_time import ByTime, read_by_time
from runners.report.schemes import name_of
from runners.report.training_curves import Curve, read_curve


def section(comparison: Comparison, runs: Mapping[str, Path], axis: str = "steps") -> str:
    """Loss curves of the docs whose runs have a metrics.jsonl, and their losses by training time.
    runs: their folders, by label or by name; a doc that is not named is looked for where its sweep
    says. axis: of the curves: steps, images or hours.
    """
    curves: list[Curve] = []
    by_time: list[ByTime | None] = []
    losses, times = set(), set()
    for doc in comparison.runs:
        folder = runs.get(doc.label) or runs.get(doc.name) or Path(doc.run.run)
        if curve := read_curve(name_of(doc), folder, axis, _images_per_update(doc)):
            curves.append(curve)
            by_time.append(read_by_time(folder))
            losses.add(str(doc.run.section("loss")))
            drawn = str(doc.run.section("training").get("times", "antithetic"))
            times.add("uniform" if drawn == "antithetic" else drawn)  # of one density
    if not curves:
        return ""
    caption = "Faint: as written. Full: running geometric mean. Hollow markers: held-out images."
    differ = " The docs minimise different losses: heights do not compare."
    if len(losses) > 1:
        caption += differ
    elif len(times) > 1:
        caption += " The docs draw times differently: heights do not compare, those by time do."
    body = markup.figure(charts.training(curves, axis), caption)
    key = legend([(Style(nth_colour(i).colour), one.title) for i, one in enumerate(curves)])
    more = _by_time(by_time, differ if len(losses) > 1 else "")
    return markup.section("training", "Training", key, f'<div class="lead">{body}</div>', more)


def _by_time(found: Sequence[ByTime | None], differ: str) -> str:
    """Losses by training time and the density of times, empty where no run wrote them."""
    spans = {one.steps for one in found if one is not None}
    if not spans:
        return ""
    first, last = next(iter(spans))
    over = f"steps {first:,} to {last:,}" if len(spans) == 1 else "the last tenth of each run"
    caption = f"Means over {over}, without weights.{differ}"
    losses = markup.figure(charts.loss_by_time(found), caption)
    caption = "Faint: as counted over the same steps. Full: the density that times were drawn from."
    drawn = markup.figure(charts.density_of_times(found), caption)
    if any(one.weighted for one in found if one is not None):
        caption = "The factor on a loss in the objective, mean over each part of the times."
        drawn += markup.figure(charts.weight_by_time(found), caption)
    return f'<h3>Losses by training time</h3><div class="beside">{losses}{drawn}</div>'


def _images_per_update(doc: Doc) -> int:
    training = doc.run.section("training")
    return int(training.get("batch_size", 1)) * int(training.get("grad_accum", 1))
