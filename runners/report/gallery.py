"""The sections of a report that show pictures: samples, and their nearest training images."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

from runners.report import markup
from runners.report.markup import escape
from runners.report.pictures import Strips, pairs, strips
from runners.report.study import Point, Study, steps_title
from runners.report.summary import best, finite
from runners.report.verdict import digits_of

Images = Callable[[Sequence[int]], Tensor]
ALL_OPEN = 15  # rows of samples up to which nothing is folded


def samples(study: Study) -> str:
    """Strips of samples; the same noise stands behind every column of rows of one seed."""
    found = strips(study.points, study.shape)
    if not found.sources:
        return ""
    shown = [p for p in study.points if (p.doc, p.sampler, p.steps) in found.sources]
    few = len(shown) <= ALL_OPEN
    by_line, by_steps = [], []
    for doc, sampler in study.lines:
        rows = [p for p in shown if (p.doc, p.sampler) == (doc, sampler)]
        strips_html = "".join(_strip(study, found, p, steps_title(p.steps)) for p in rows)
        title = _title(study, doc, sampler)
        is_open = few or (doc, sampler) in _best_lines(study)
        by_line += [markup.details(title, strips_html, is_open)] if rows else []
    for steps in study.steps:
        rows = [p for p in shown if p.steps == steps]
        strips_html = "".join(
            _strip(study, found, p, _title(study, p.doc, p.sampler)) for p in rows
        )
        by_steps += [markup.details(steps_title(steps), strips_html)] if rows else []
    seeds = sorted(set(found.seeds.values()))
    text = (
        f"Images 0 to {found.columns - 1} of "
        + (f"seed {seeds[0]}" if len(seeds) == 1 else "the seed that each row names")
        + f", with {escape(study.distance.label)} (mean over the row's seeds). "
        + "Every column began as the same noise, in all rows"
        + (" of one seed." if len(seeds) > 1 else ".")
        + ("" if few else " The best sampler of each doc is unfolded.")
        + (" Packed with slight loss." if found.lossy else "")
    )
    compared = "<h3>By steps</h3>" + "".join(by_steps) if len(study.lines) > 1 else ""
    return markup.section(
        "samples",
        "Samples",
        _pictures(found),
        markup.note(text),
        f"<h3>By sampler</h3>{''.join(by_line)}{compared}",
    )


def _title(study: Study, doc: str, sampler: str) -> str:
    return f"{escape(doc)} · {escape(sampler)}" if len(study.docs) > 1 else escape(sampler)


def _best_lines(study: Study) -> set[tuple[str, str]]:
    """The best (doc, sampler) of the first docs; a sampler with one point shows little."""
    found = set()
    for doc in study.docs[:4]:
        points = [p for p in study.points if p.doc == doc.label]
        first = best([p for p in points if p.steps is not None] or points)
        found |= {(first.doc, first.sampler)} if first else set()
    return found


def _pictures(found: Strips) -> str:
    """Every strip once, as a class, although two rows show it."""
    rules = "".join(
        f".s{i}{{background-image:url({source})}}"
        for i, source in enumerate(found.sources.values())
    )
    shape = f".film>*{{aspect-ratio:{found.ratio:.4f}}}"
    wide = max(100, found.columns * 100 // 8)  # a phone shows eight at a time
    phone = f"@media screen and (max-width:620px){{.film>*{{width:{wide}%}}}}"
    return f"<style>{shape}{phone}{rules}</style>"


def _strip(study: Study, found: Strips, point: Point, title: str) -> str:
    place = (point.doc, point.sampler, point.steps)
    index = list(found.sources).index(place)
    seed = f", seed {found.seeds[place]}" if len(set(found.seeds.values())) > 1 else ""
    value = markup.number(point.distance.mean, digits_of(study, "distance"))
    name = escape(f"samples of {point.doc}, {point.title}")
    return (
        f'<div class="strip"><p>{title}{seed} {markup.evaluations(point.nfe)}<br>'
        f'<span class="value">{value}</span></p><div class="film" tabindex="0">'
        f'<div class="s{index}" role="img" aria-label="{name}"></div></div></div>'
    )


def neighbours(study: Study, images: Images | None) -> str:
    """The best point's first samples of each doc above their nearest training images."""
    blocks = []
    for doc in study.docs:
        able = [
            p for p in study.points if p.doc == doc.label and any(c.neighbours for c in p.cells)
        ]
        point = best(able) or next(iter(finite(able)), None)
        found = pairs(point, study.shape, images) if point is not None else None
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
