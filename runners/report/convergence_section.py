"""The section of a report that shows how fast training schemes converge, and curve.json."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from runners.report import charts, markup
from runners.report.comparison import Comparison
from runners.report.convergence import ABOVE, BELOW, Bound, Curve, Ratio, Setting, settings
from runners.report.entries import digits_of
from runners.report.line_styles import legend, nth_colour
from runners.report.markup import escape
from runners.report.wording import images, steps_title

SHORT = 12  # rows of a table up to which it is not folded
SHARES = {1.0: "all", 0.5: "half", 0.25: "a quarter"}


def section(comparison: Comparison) -> str:
    """Charts of quality against images seen, their values, and the ratios of images."""
    found = settings(comparison)
    parts = [_block(comparison, setting, len(found) > 1) for setting in found]
    parts = parts or [markup.note("No run has a measured snapshot in common with its like.")]
    return markup.section("convergence", "Quality against images seen", *parts)


def sentence(comparison: Comparison) -> str:
    """Say for every scheme how many images it needs for the baseline's last quality; plain text."""
    label, digits = comparison.distance.label, digits_of(comparison, comparison.distance)
    found = settings(comparison)
    if not found:
        return f"No two snapshots have a finite {label}."
    base, *others = found[-1].curves
    best = markup.number(float(base.mean.min()), digits)
    text = f"{label} {best}, the best of {base.label}, takes it {images(_when(base))} images"
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
    return f"needs {amount} ({_ratio(ratio.ratio)} times fewer{_interval(ratio)})"


def _ratio(bound: Bound) -> str:
    sign = {BELOW: "<", ABOVE: ">"}.get(bound.kind, "")
    return f"{sign}{bound.value:.2f}"


def _interval(ratio: Ratio) -> str:
    if ratio.low is None or ratio.high is None:
        return ""
    return f", 95 %: {_ratio(ratio.low)} to {_ratio(ratio.high)}"


def _block(comparison: Comparison, setting: Setting, several: bool) -> str:
    """One sampler and number of steps."""
    digits = digits_of(comparison, comparison.distance)
    curves = setting.curves
    key = legend([(nth_colour(i), curve.label) for i, curve in enumerate(curves)])
    chart = charts.against_images(comparison.distance.label, curves)
    title = f"{setting.sampler}, {steps_title(setting.steps)}"
    head = f"<h3>{escape(title)}</h3>" if several else ""
    figure = markup.figure(chart, _caption(comparison, curves, title))
    values = markup.table(
        ["images seen", *(escape(curve.label) for curve in curves)],
        list(_values(curves, digits)),
        "figures",
    )
    count = len({x for curve in curves for x in curve.images})
    table = markup.details(f"Values at {count} snapshots", values, count <= SHORT)
    beside = f'<div class="beside"><div>{key}{figure}</div><div>{_runs(curves)}{table}</div></div>'
    return head + beside + _ratios(setting, digits)


def _caption(comparison: Comparison, curves: list[Curve], title: str) -> str:
    noise = f"noise of {'seed' if len(comparison.seeds) == 1 else 'seeds'} "
    noise += ", ".join(map(str, comparison.seeds))
    words = (
        f"{escape(comparison.distance.label)} (lower is better) of the averaged weights against "
        f"training images seen: {escape(title)}, equal {noise} for all."
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


def _values(curves: list[Curve], digits: int) -> Iterator[list[str]]:
    for x in sorted({x for curve in curves for x in curve.images}):
        row = [f"{x:,.0f}"]
        for curve in curves:
            (at,) = (curve.images == x).nonzero()
            row.append(_value(curve, int(at[0]), digits) if len(at) else markup.NONE)
        yield row


def _value(curve: Curve, at: int, digits: int) -> str:
    text = markup.number(float(curve.mean[at]), digits)
    if curve.band is None:
        return text
    low, high = (markup.number(float(end[at]), digits) for end in curve.band)
    return f'{text}<span class="nfe">{low} to {high}</span>'


def _ratios(setting: Setting, digits: int) -> str:
    """Table of the ratios of images, a row for each scheme and the baseline's images first."""
    base, *others = setting.curves
    found = [ratio for ratios in setting.ratios.values() for ratio in ratios]
    if not found:
        return ""
    levels = {r.share: r for r in found if r.share is not None}
    head = ["times fewer images than the baseline"]
    head += [
        f"for {markup.number(r.level, digits)}"
        f'<span class="nfe">baseline: {images(r.images[0])} images</span>'
        for r in levels.values()
    ]
    head.append('all levels both reach<span class="nfe">geometric mean</span>')
    rows = []
    for other in others:
        by_share = {r.share: r for r in setting.ratios[other.label]}
        cells = [_cell(by_share.get(share)) for share in (*levels, None)]
        rows.append([escape(other.label), *cells])
    return (
        f"<h3>Images for equal quality, against {escape(base.label)}</h3>"
        + markup.table(head, rows, "figures")
        + markup.note(_explained(setting))
    )


def _cell(ratio: Ratio | None) -> str:
    if ratio is None:
        return f'{markup.NONE}<span class="nfe">no level in common</span>'
    needed = ratio.images[1]
    words = f"{images(needed.value)} images"
    words = {ABOVE: f"not after {words}", BELOW: f"before {words}"}.get(needed.kind, words)
    spread = ""
    if ratio.low is not None and ratio.high is not None:
        spread = f"{_ratio(ratio.low)} to {_ratio(ratio.high)}"
    lines = [spread, "" if math.isnan(needed.value) else words]
    small = "".join(f'<span class="nfe">{line}</span>' for line in lines if line)
    return f"<b>{escape(_ratio(ratio.ratio))}</b>{small.replace('<&', '&')}"


def _explained(setting: Setting) -> str:
    base, *others = setting.curves
    words = (
        "Ratio = images of the baseline / images of the scheme when the running minimum of its "
        "mean curve first reaches the level; above 1 the scheme is faster. Between snapshots log "
        "images is linear in log distance. Levels: what the baseline reaches after all, half and a "
        "quarter of its images. &lt;, &gt;: a bound, where the scheme has not reached the level, or "
        "had reached it before its first snapshot. "
    )
    counts = ", ".join(f"{escape(c.label)} {len(c.runs)}" for c in setting.curves)
    if any(r.low is not None for ratios in setting.ratios.values() for r in ratios):
        words += (
            "Ranges: 95 % interval, bootstrap over the runs of both (runs: "
            f"{counts}); of few runs it is too narrow rather than too wide. "
        )
    if len(base.runs) == 1 or any(len(other.runs) == 1 for other in others):
        words += "No uncertainty can be given where a scheme has one run."
    return words


def as_json(comparison: Comparison) -> str:
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
        for one in settings(comparison)
    ]
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
