"""The verdict: one sentence, and the table that it is read from."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from runners.record.cells import number
from runners.report import markup
from runners.report.markup import escape
from runners.report.study import Point, Study, count, steps_title
from runners.report.summary import Stat, best, decimals, finite, indistinguishable, level, winners

ALIKE = 1.5
Place = tuple[str, str, int | None]  # (doc, sampler, steps)


def sentence(study: Study) -> str:
    """Who is best at each budget, in words; plain text."""
    label = study.distance.label
    found = winners(study)
    if not found:
        return f"No cell has a finite {label}."
    unranked = [budget for budget, point in found if point is None]
    if not unranked:
        return _ranked(study, found)
    text = "not ranked, as no seed is common to all that compete"
    if len(unranked) == len(found):
        return f"{label}: {text}."
    return f"{_ranked(study, found)} From {unranked[0]:,} on: {text}."


def _ranked(study: Study, found: Iterable[tuple[int, Point | None]]) -> str:
    label = study.distance.label
    runs: list[list[tuple[int, Point]]] = []  # neighbouring budgets with one winner
    for budget, point in found:
        if point is None:
            continue
        if runs and _who(study, runs[-1][-1][1]) == _who(study, point):
            runs[-1].append((budget, point))
        else:
            runs.append([(budget, point)])
    if len(runs) > 1:
        parts = []
        for run in runs:
            last = run[-1][1]
            parts.append(f"{_budgets(run)}: {_who(study, last)} ({_reached(study, *run[-1])})")
        return f"Lowest {label} by network evaluations per image: {'; '.join(parts)}."
    (run,) = runs
    winner = _who(study, run[-1][1])
    reached = "; ".join(dict.fromkeys(_reached(study, *end) for end in (run[0], run[-1])))
    if len(study.lines) == 1:
        return f"{winner} reaches {label} {reached} network evaluations per image."
    within = f"With {_budgets(run)} network evaluations per image {winner}"
    return f"{within} has the lowest {label}: {reached}."


def _who(study: Study, point: Point) -> str:
    return f"{point.sampler} of {point.doc}" if len(study.docs) > 1 else point.sampler


def _budgets(run: list[tuple[int, Point]]) -> str:
    low, high = run[0][0], run[-1][0]
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _reached(study: Study, budget: int, point: Point) -> str:
    """`7.96 ± 0.12 with 100, level with 2 others`; what is less than all seeds is said."""
    text = f"{markup.spread(point.distance, digits_of(study, 'distance'))} with {count(point.nfe)}"
    own = study.at[point.doc, point.sampler, point.steps].distance
    if seeds := seeds_note(point.distance, own, _most(study, "distance")):
        text += f", {seeds}"
    others = rivals(study, budget, point)
    if not others:
        return text
    level = others[0] if len(others) == 1 else f"{len(others)} others"
    return f"{text}, level with {level}"


def rivals(study: Study, budget: int, winner: Point) -> list[str]:
    """Whose best within a budget of evaluations is not told apart from the winner."""
    found = []
    field = level(p for p in study.points if p.nfe <= budget)
    for doc, sampler in study.lines:
        point = best(p for p in field if (p.doc, p.sampler) == (doc, sampler))
        if point is None or (doc, sampler) == (winner.doc, winner.sampler):
            continue
        if indistinguishable(winner.distance, point.distance):
            found.append(_who(study, point))
    return found


def section(study: Study) -> str:
    """The table of distances with the yardstick below it, and those of the other figures."""
    shown = entries(study, "distance")
    tables = [_table(study, metric.key) for metric in study.metrics]
    rest = [
        markup.details(escape(metric.label), body)
        for metric, body in zip(study.metrics[1:], tables[1:], strict=True)
    ]
    return markup.section(
        "verdict",
        "Verdict",
        f"<p><b>{escape(study.distance.label)}</b>, lower is better: {averaged(shown)}.</p>",
        tables[0],
        _legend(study, shown),
        _yardstick(study),
        *rest,
    )


@dataclass(frozen=True)
class Entry:
    """A figure in a table. mark: "best", "tie" or nothing; seeds: how many it is over, in words,
    where they are less than all.
    """

    stat: Stat
    mark: str
    seeds: str


def entries(study: Study, key: str) -> dict[Place, Entry]:
    """What the tables show, column by column (of equal steps): figures over the seeds that all of
    the column have. Without such a seed every figure is over its own, and none is marked.
    """
    lower = next(metric for metric in study.metrics if metric.key == key).lower_is_better
    most = _most(study, key)
    found = {}
    for steps in study.steps:
        column = [point for point in study.points if point.steps == steps]
        field = {(p.doc, p.sampler): p.figures[key] for p in level(column, key)}
        first = best(column, key, lower) if len(column) > 1 else None
        for point in column:
            own = point.figures[key]
            stat = field.get((point.doc, point.sampler), own)
            mark = ""
            if first is not None and math.isfinite(stat.mean):
                tied = indistinguishable(first.figures[key], stat)
                chosen = (point.doc, point.sampler) == (first.doc, first.sampler)
                mark = "best" if chosen else "tie" if tied else ""
            note = seeds_note(stat, own, most)
            found[point.doc, point.sampler, point.steps] = Entry(stat, mark, note)
    return found


def _most(study: Study, key: str) -> int:
    return max(point.figures[key].n for point in study.points)


def seeds_note(stat: Stat, own: Stat, most: int) -> str:
    """`1 of 3 seeds`, `1 seed`: where a figure is over fewer seeds than it has, or than most."""
    if stat.n < own.n:
        return f"{stat.n} of {own.n} seeds"
    return markup.seeds(stat.n) if 0 < stat.n < most else ""


def averaged(shown: dict[Place, Entry]) -> str:
    """Over how many seeds the figures of a table are, in words."""
    numbers = {entry.stat.n for entry in shown.values() if entry.stat.n}
    seeds = {seed for entry in shown.values() for seed in entry.stat.by_seed}
    if max(numbers, default=1) == 1:
        return f"one seed ({', '.join(map(str, seeds))})" if len(seeds) == 1 else "one seed each"
    unless = " where a figure says no other number" if len(numbers) > 1 else ""
    return f"mean ± standard deviation over {max(numbers)} seeds of the sampling noise{unless}"


def unranked(study: Study, key: str) -> list[int | None]:
    """Steps whose points have no seed in common."""
    columns = {s: [p for p in study.points if p.steps == s] for s in study.steps}
    return [s for s, column in columns.items() if finite(column, key) and not level(column, key)]


def _legend(study: Study, shown: dict[Place, Entry]) -> str:
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
            words.append("With one seed there is no uncertainty to tell.")
    if any(" of " in entry.seeds for entry in shown.values()):
        words.append("A column is over the seeds that all of it have.")
    if apart := unranked(study, "distance"):
        listed = ", ".join(map(steps_title, apart))
        words.append(f"No seed in common, so nothing is ranked: {listed}.")
    return markup.note(" ".join(words)) if words else ""


def digits_of(study: Study, key: str) -> int:
    """Digits after the point of a metric in tables."""
    if key in ("precision", "recall"):
        return 3
    return decimals(point.figures[key].mean for point in study.points)


def _table(study: Study, key: str) -> str:
    digits, shown = digits_of(study, key), entries(study, key)
    rows = []
    for doc, sampler in study.lines:
        cells = [_name(study, doc, sampler)]
        for steps in study.steps:
            entry = shown.get((doc, sampler, steps))
            if entry is None:
                cells.append('<span class="none">–</span>')
                continue
            text = markup.spread(entry.stat, digits) + (" ≈" if entry.mark == "tie" else "")
            nfe = markup.evaluations(study.at[doc, sampler, steps].nfe, entry.seeds)
            cells.append(f'<span class="{entry.mark}">{text}</span>{nfe}')
        rows.append(cells)
    return markup.table(["", *map(steps_title, study.steps)], rows, "figures")


def _name(study: Study, doc: str, sampler: str) -> str:
    above = f'<span class="doc">{escape(doc)}</span>' if len(study.docs) > 1 else ""
    return f"{above}{escape(sampler)}"


def _yardstick(study: Study) -> str:
    """How far real images are from real ones: as many as a cell has samples from all of them, or
    two halves of them where a half is about as many.
    """
    n, images = study.meta.get("n_samples"), study.dataset.get("images")
    same, halves = (
        number(study.dataset.get(key)) for key in ("same_size_distance", "real_halves_distance")
    )
    if not isinstance(n, int):
        return ""
    if math.isfinite(same):
        words = f"{n:,} random real images are <b>{same:.4g}</b> from all of them"
    elif math.isfinite(halves) and isinstance(images, int) and _alike(n, images // 2):
        words = f"two random halves ({images // 2:,} each) of the real images are "
        words += f"<b>{halves:.4g}</b> apart"
    else:
        return ""
    return f'<p class="yardstick">Yardstick: {words} by the same features.</p>'


def _alike(one: int, other: int) -> bool:
    """Whether a distance of so many images, which falls with their number, says much of another."""
    return one <= ALIKE * other and other <= ALIKE * one
