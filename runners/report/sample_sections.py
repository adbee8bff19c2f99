"""Sections of a report that show images: samples, and their nearest training images."""

from __future__ import annotations

from runners.report import markup
from runners.report.comparison import Comparison, Point
from runners.report.entries import digits_of
from runners.report.inline_sheets import Images, Sheets, packed, pairs, sheet_of
from runners.report.markup import escape
from runners.report.ranking import best, finite
from runners.report.schemes import schemes
from runners.report.wording import images as images_of
from runners.report.wording import steps_title

ALL_OPEN = 15  # sheets up to which nothing is folded
ROWS = 6  # snapshots of a run that are shown


def samples(comparison: Comparison) -> str:
    """Sheets of samples; images of one column and seed began as the same noise."""
    found = packed(comparison.points, comparison.shape)
    if not found.sources:
        return ""
    shown = [p for p in comparison.points if p.place in found.sources]
    unfolded = comparison.lines if len(shown) <= ALL_OPEN else _best_lines(comparison)
    by_line, by_steps = [], []
    for line in comparison.lines:
        rows = [p for p in shown if p.line == line]
        body = "".join(_sheet(comparison, found, p, steps_title(p.steps)) for p in rows)
        title = _title(comparison, *line)
        by_line += [markup.details(title, body, line in unfolded)] if rows else []
    for steps in comparison.steps:
        rows = [p for p in shown if p.steps == steps]
        body = "".join(_sheet(comparison, found, p, _title(comparison, *p.line)) for p in rows)
        by_steps += [markup.details(steps_title(steps), body)] if rows else []
    compared = "<h3>By steps</h3>" + "".join(by_steps) if len(comparison.lines) > 1 else ""
    return markup.section(
        "samples",
        "Samples",
        _rules(found),
        markup.note(_explained(comparison, found, len(shown) > ALL_OPEN)),
        f"<h3>By sampler</h3>{''.join(by_line)}{compared}",
    )


def progress(comparison: Comparison) -> str:
    """Sheets of snapshots of the first run of every scheme, from equal noise."""
    shown: dict[str, list[Point]] = {}
    for scheme in schemes(comparison.docs):
        name, docs = next(iter(scheme.runs.items()))
        points = [next(p for p in comparison.points if p.doc == doc.label) for doc in docs]
        points = [point for point in points if sheet_of(point)]
        kept = {round(i * (len(points) - 1) / (ROWS - 1)) for i in range(ROWS)}
        shown[f"{scheme.label} · {name}"] = [p for i, p in enumerate(points) if i in kept]
    found = packed([point for points in shown.values() for point in points], comparison.shape)
    if not found.sources:
        return ""
    seen = {doc.label: f"{images_of(doc.run.images_seen)} images" for doc in comparison.docs}
    blocks = [
        f"<h3>{escape(title)}</h3>"
        + "".join(_sheet(comparison, found, point, seen[point.doc], "p") for point in points)
        for title, points in shown.items()
        if points
    ]
    note = _explained(comparison, found, folded=False)
    parts = (_rules(found, "p"), markup.note(note), *blocks)
    return markup.section("progress", "Samples by images seen", *parts)


def _explained(comparison: Comparison, found: Sheets, folded: bool) -> str:
    seeds = sorted(set(found.seeds.values()))
    whose = f"seed {seeds[0]}" if len(seeds) == 1 else "the seed that each row names"
    of_one = " of one seed" if len(seeds) > 1 else ""
    return (
        f"Images 0 to {found.columns - 1} of {whose}, with {escape(comparison.distance.label)} "
        f"(mean over the row's seeds). Every column began as the same noise, in all rows{of_one}."
        + (" The best sampler of each doc is unfolded." if folded else "")
        + (" Packed with slight loss." if found.lossy else "")
    )


def _title(comparison: Comparison, doc: str, sampler: str) -> str:
    several = len(comparison.docs) > 1
    return f"{escape(doc)} · {escape(sampler)}" if several else escape(sampler)


def _best_lines(comparison: Comparison) -> list[tuple[str, str]]:
    """The best (doc, sampler) of each of the first docs; adaptive samplers have but one row."""
    found = []
    for doc in comparison.docs[:4]:
        points = [p for p in comparison.points if p.doc == doc.label]
        if first := best([p for p in points if p.steps is not None] or points):
            found.append(first.line)
    return found


def _rules(found: Sheets, kind: str = "s") -> str:
    """Every sheet once, as a CSS class, although it is shown twice."""
    rules = "".join(
        f".{kind}{i}{{background-image:url({source})}}"
        for i, source in enumerate(found.sources.values())
    )
    shape = f".film>*{{aspect-ratio:{found.ratio:.4f}}}"
    wide = max(100, found.columns * 100 // 8)  # a phone shows eight images at a time
    phone = f"@media screen and (max-width:620px){{.film>*{{width:{wide}%}}}}"
    return f"<style>{shape}{phone}{rules}</style>"


def _sheet(comparison: Comparison, found: Sheets, point: Point, title: str, kind: str = "s") -> str:
    index = list(found.sources).index(point.place)
    several = len(set(found.seeds.values())) > 1
    seed = f", seed {found.seeds[point.place]}" if several else ""
    digits = digits_of(comparison, comparison.distance)
    name = escape(f"samples of {point.doc}, {point.title}")
    return (
        f'<div class="row"><p>{title}{seed} {markup.evaluations(point.nfe)}<br>'
        f'<span class="value">{markup.number(point.distance.mean, digits)}</span></p>'
        f'<div class="film" tabindex="0"><div class="{kind}{index}" role="img" aria-label="{name}">'
        "</div></div></div>"
    )


def neighbours(comparison: Comparison, images: Images | None) -> str:
    """The first samples of each doc's best point above their nearest training images."""
    blocks = []
    for doc in comparison.docs:
        of_doc = [point for point in comparison.points if point.doc == doc.label]
        able = [p for p in of_doc if any(cell.measured.neighbours for cell in p.cells)]
        point = best(able) or next(iter(finite(able)), None)
        found = pairs(point, comparison.shape, images) if point is not None else None
        if point is None or found is None:
            continue
        columns = len(found.distances)
        distances = "".join(f"<span>{d:.3g}</span>" for d in found.distances)
        title = f"{escape(doc.label)} · {escape(point.title)}"
        blocks.append(
            f'<div class="pairs" style="--columns:{columns}"><h3>{title}</h3>'
            f'<img alt="samples" src="{found.samples}">'
            f'<img alt="their nearest training images" src="{found.neighbours}">'
            f"<div>{distances}</div></div>"
        )
    if not blocks:
        return ""
    text = (
        "Above: samples of each doc's best cell (its first, where they have no seed in common). "
        "Below: the training image nearest to each in the features that the distance is measured "
        "in, and how far it is. A sample that repeats a training image is a copy, not a success."
    )
    return markup.section(
        "neighbours",
        "Nearest training images",
        markup.note(text),
        f'<div class="beside">{"".join(blocks)}</div>',
    )
