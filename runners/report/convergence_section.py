"""The section of a report that shows how fast training schemes converge, and curve.json."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from runners.report import charts, convergence_tables, markup
from runners.report.comparison import Comparison
from runners.report.convergence import ABOVE, BELOW, Convergence, Curve, Ratio, Setting
from runners.report.entries import digits_of
from runners.report.line_styles import legend, nth_colour
from runners.report.markup import escape
from runners.report.wording import images, steps_title

SHORT = 12  # rows of a table up to which it is not folded


def section(speed: Convergence) -> str:
    """Charts of quality against images seen, their values, and the ratios of images."""
    found = speed.settings
    parts = [_block(speed.comparison, setting, len(found) > 1) for setting in found]
    parts = parts or [markup.note("No run has a measured snapshot in common with its like.")]
    return markup.section("convergence", "Quality against images seen", *parts)


def sentence(speed: Convergence) -> str:
    """Say for every scheme how many images it needs for the baseline's best quality; plain text."""
    comparison, found = speed.comparison, speed.settings
    label, digits = comparison.distance.label, digits_of(comparison, comparison.distance)
    if not found:
        return f"No two snapshots have a finite {label}."
    base, *others = found[-1].curves
    best = markup.number(float(base.mean.min()), digits)
    text = f"{base.label} reaches its best {label}, {best}, after {images(_when(base))} images"
    for other in others:
        ratio = next((r for r in found[-1].ratios[other.label] if r.share == 1), None)
        if ratio is not None:
            text += f"; {other.label} {_needs(ratio)}"
    return f"{text}."


def _when(curve: Curve) -> float:
    return float(curve.images[curve.mean.argmin()])


def _needs(ratio: Ratio) -> str:
    needed = ratio.images[1]
    if needed.kind == ABOVE:
        return f"has not reached it after {images(needed.value)}"
    amount = f"{'at most ' if needed.kind == BELOW else ''}{images(needed.value)}"
    text = f"{convergence_tables.bounded(ratio.ratio)} times as fast"
    if spread := convergence_tables.interval(ratio):
        text += f", 95 %: {spread}"
    return f"needs {amount} ({text})"


def _block(comparison: Comparison, setting: Setting, several: bool) -> str:
    """One sampler and number of steps."""
    digits = digits_of(comparison, comparison.distance)
    curves = setting.curves
    key = legend([(nth_colour(i), curve.label) for i, curve in enumerate(curves)])
    chart = charts.against_images(comparison.distance.label, curves)
    title = f"{setting.sampler}, {steps_title(setting.steps)}"
    head = f"<h3>{escape(title)}</h3>" if several else ""
    figure = markup.figure(chart, _caption(comparison, curves, title))
    values = _table(convergence_tables.values(setting, digits))
    count = len({x for curve in curves for x in curve.images})
    table = markup.details(f"Values at {count} snapshots", values, count <= SHORT)
    ratios = _table(convergence_tables.ratios(setting, digits))
    if ratios:
        title = f"Images for equal quality, against the baseline {curves[0].label}"
        ratios = f"<h3>{escape(title)}</h3>{ratios}{markup.note(_explained(setting))}"
    beside = f'<div class="beside"><div>{key}{figure}</div><div>{_runs(curves)}{table}</div></div>'
    return head + beside + ratios


def _table(lines: Iterable[Iterable[convergence_tables.Cell]]) -> str:
    """A table of a head and rows; empty for none."""
    head, *rows = [[_cell(*cell) for cell in line] for line in lines] or [[]]
    return markup.table(head, rows, "figures wrapped") if rows else ""


def _cell(text: str, *below: str) -> str:
    small = "".join(f'<span class="nfe">{escape(line)}</span>' for line in below)
    return f"{escape(text)}{small}"


def _caption(comparison: Comparison, curves: list[Curve], title: str) -> str:
    noise = f"noise of {'seed' if len(comparison.seeds) == 1 else 'seeds'} "
    noise += ", ".join(map(str, comparison.seeds))
    raw = all(doc.run.average == "raw" for doc in comparison.docs)
    weights = "raw" if raw else "averaged"
    words = (
        f"{escape(comparison.distance.label)} (lower is better) of the {weights} weights "
        f"against training images seen: {escape(title)}, equal {noise} for all."
    )
    if any(curve.band for curve in curves):
        words += " Lines: mean over the runs (training seeds) of a scheme. Bands: from its lowest "
        words += "to its highest run."
    else:
        words += " No bands: one run each."
    for curve in curves:
        if curve.left_out:
            n = curve.left_out
            words += f" {n} snapshot{'s' if n > 1 else ''} of {escape(curve.label)} "
            words += f"{'are' if n > 1 else 'is'} left out: not all its runs have "
            words += f"{'them' if n > 1 else 'it'}."
    return words


def _runs(curves: list[Curve]) -> str:
    rows = [
        [escape(curve.label), f"{len(curve.runs)}: {escape(', '.join(curve.runs))}"]
        for curve in curves
    ]
    return markup.table(["scheme", "runs"], rows)


def _explained(setting: Setting) -> str:
    base, *others = setting.curves
    words = (
        "Ratio = images of the baseline / images of the scheme when the running minimum of its "
        "mean curve first reaches the level; above 1 the scheme is faster. Between snapshots log "
        "images is linear in log distance. Levels: what the baseline reaches after all, half and a "
        "quarter of its images. &lt;, &gt;: a bound, where the scheme has not reached the level or "
        "had reached it before its first snapshot. "
    )
    counts = ", ".join(f"{escape(c.label)} {len(c.runs)}" for c in setting.curves)
    if len({len(c.runs) for c in setting.curves}) == 1:
        counts = f"{len(base.runs)} each"
    if any(r.low is not None for ratios in setting.ratios.values() for r in ratios):
        words += (
            "Ranges: 95 % interval, a bootstrap over the runs of both (runs: "
            f"{counts}), widened for their small number by Student's t. "
        )
    if len(base.runs) == 1 or any(len(other.runs) == 1 for other in others):
        words += "No uncertainty can be given where a scheme has one run."
    return words


def as_json(speed: Convergence) -> str:
    """The numbers behind the section."""
    found = [
        {
            **{"sampler": one.sampler, "steps": one.steps, "nfe": one.nfe},
            "curves": [_record(curve) for curve in one.curves],
            "baseline": one.curves[0].label,
            "ratios": {
                label: [_finite(asdict(ratio)) for ratio in of] for label, of in one.ratios.items()
            },
        }
        for one in speed.settings
    ]
    comparison = speed.comparison
    known = {"metric": comparison.distance.label, "noise_seeds": comparison.seeds}
    return json.dumps({**known, "settings": found}, indent=1, allow_nan=False) + "\n"


def _record(curve: Curve) -> dict[str, Any]:
    values = {name: list(row) for name, row in zip(curve.runs, curve.values.tolist(), strict=True)}
    return {
        **{"scheme": curve.label, "images_seen": curve.images.astype(int).tolist()},
        **{"mean": curve.mean.tolist(), "runs": values},
    }


def _finite(value: Any) -> Any:
    """The value with null for every NaN, and words for the kinds of bounds."""
    if isinstance(value, dict):
        words = {BELOW: "at most", ABOVE: "at least"}
        return {k: words.get(v, "exact") if k == "kind" else _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    if isinstance(value, float):
        return None if math.isnan(value) else float(f"{value:.6g}")
    return value
