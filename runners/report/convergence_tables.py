"""Tables of curves as plain text: the HTML page and report.md show the same ones."""

from __future__ import annotations

import math
from collections.abc import Iterator

from runners.report.convergence import ABOVE, BELOW, Bound, Curve, Ratio, Setting
from runners.report.markup import number
from runners.report.wording import images

Cell = tuple[str, ...]  # a value, and lines in small print below it
NONE = ("–",)


def values(setting: Setting, digits: int) -> Iterator[list[Cell]]:
    """Head, then a row for each number of images seen: mean of every scheme, lowest and highest run
    below it.
    """
    curves = setting.curves
    yield [("images seen",), *((curve.label,) for curve in curves)]
    for x in sorted({x for curve in curves for x in curve.images}):
        yield [(f"{x:,.0f}",), *(_value(curve, x, digits) for curve in curves)]


def _value(curve: Curve, x: float, digits: int) -> Cell:
    (found,) = (curve.images == x).nonzero()
    if not len(found):
        return NONE
    at = int(found[0])
    text = number(float(curve.mean[at]), digits)
    if curve.band is None:
        return (text,)
    low, high = (number(float(end[at]), digits) for end in curve.band)
    return text, f"{low} to {high}"


def ratios(setting: Setting, digits: int) -> Iterator[list[Cell]]:
    """Head, then a row for each scheme beside the baseline: ratio of images, its interval, and the
    images that the scheme needs. Empty where nothing can be compared.
    """
    found = [ratio for of in setting.ratios.values() for ratio in of]
    if not found:
        return
    levels = {r.share: r for r in found if r.share is not None}
    yield [
        ("times as fast",),
        *(
            (f"for {number(r.level, digits)}", f"baseline: {images(r.images[0])} images")
            for r in levels.values()
        ),
        ("all levels both reach", "geometric mean"),
    ]
    for label, of in setting.ratios.items():
        by_share = {ratio.share: ratio for ratio in of}
        yield [(label,), *(_cell(by_share.get(share)) for share in (*levels, None))]


def _cell(ratio: Ratio | None) -> Cell:
    if ratio is None:
        return (*NONE, "no level in common")
    needed = ratio.images[1]
    words = f"{images(needed.value)} images"
    words = {ABOVE: f"not after {words}", BELOW: f"before {words}"}.get(needed.kind, words)
    lines = [interval(ratio), "" if math.isnan(needed.value) else words]
    return (bounded(ratio.ratio), *filter(None, lines))


def bounded(bound: Bound) -> str:
    """`1.62`, or `<0.20` where only a bound is known."""
    sign = {BELOW: "<", ABOVE: ">"}.get(bound.kind, "")
    return f"{sign}{bound.value:.2f}"


def interval(ratio: Ratio) -> str:
    """`1.21 to 2.03`, empty where there is none."""
    if ratio.low is None or ratio.high is None:
        return ""
    return f"{bounded(ratio.low)} to {bounded(ratio.high)}"
