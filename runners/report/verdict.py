"""The verdict: one sentence, and the table that it is read from."""

from __future__ import annotations

from runners.report import markup
from runners.report.markup import escape
from runners.report.study import Point, Study, count, steps_title
from runners.report.summary import best, decimals, indistinguishable, winners


def sentence(study: Study) -> str:
    """Who is best at each budget, in words; plain text."""
    label = study.distance.label
    runs: list[list[tuple[int, Point]]] = []  # neighbouring budgets with one winner
    for budget, point in winners(study):
        if runs and _who(study, runs[-1][-1][1]) == _who(study, point):
            runs[-1].append((budget, point))
        else:
            runs.append([(budget, point)])
    if not runs:
        return f"No cell has a finite {label}."
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
    """`7.96 ± 0.12 with 100, level with 2 others`."""
    text = f"{markup.spread(point.distance, digits_of(study, 'distance'))} with {count(point.nfe)}"
    others = rivals(study, budget, point)
    if not others:
        return text
    level = others[0] if len(others) == 1 else f"{len(others)} others"
    return f"{text}, level with {level}"


def rivals(study: Study, budget: int, winner: Point) -> list[str]:
    """Whose best within a budget of evaluations is not told apart from the winner."""
    found = []
    for doc, sampler in study.lines:
        point = best(p for p in study.line(doc, sampler) if p.nfe <= budget)
        if point is None or (doc, sampler) == (winner.doc, winner.sampler):
            continue
        if indistinguishable(winner.distance, point.distance):
            found.append(_who(study, point))
    return found


def section(study: Study) -> str:
    """The table of distances with the yardstick below it, and those of the other figures."""
    tables = [_table(study, metric.key) for metric in study.metrics]
    legend = (
        '<span class="best">Bold</span>: the best of its column, whatever it costs, so look at its '
        "NFE (network evaluations per image). "
    )
    if len(study.seeds) > 1:
        legend += (
            "≈, level: not told apart from the best: zero lies in the 95 % interval of the "
            "difference (Student's t, seed by seed, as equal seeds begin with equal noise)."
        )
    else:
        legend += "With one seed there is no uncertainty to tell."
    rest = [
        markup.details(escape(metric.label), body)
        for metric, body in zip(study.metrics[1:], tables[1:], strict=True)
    ]
    return markup.section(
        "verdict",
        "Verdict",
        f"<p><b>{escape(study.distance.label)}</b>, lower is better: {_seeds(study)}.</p>",
        tables[0],
        markup.note(legend) if marks(study, "distance") else "",
        _yardstick(study),
        *rest,
    )


def marks(study: Study, key: str) -> dict[tuple[str, str, int | None], str]:
    """ "best" or "tie" for the points that deserve it, column by column (of equal steps)."""
    lower = next(metric for metric in study.metrics if metric.key == key).lower_is_better
    found = {}
    for steps in study.steps:
        column = [point for point in study.points if point.steps == steps]
        first = best(column, key, lower)
        if first is None or len(column) == 1:
            continue
        for point in column:
            place = (point.doc, point.sampler, point.steps)
            if point is first:
                found[place] = "best"
            elif indistinguishable(first.figures[key], point.figures[key]):
                found[place] = "tie"
    return found


def digits_of(study: Study, key: str) -> int:
    """Digits after the point of a metric in tables."""
    if key in ("precision", "recall"):
        return 3
    return decimals(point.figures[key].mean for point in study.points)


def _table(study: Study, key: str) -> str:
    digits, marked = digits_of(study, key), marks(study, key)
    rows = []
    for doc, sampler in study.lines:
        cells = [_name(study, doc, sampler)]
        for steps in study.steps:
            point = study.at.get((doc, sampler, steps))
            if point is None:
                cells.append('<span class="none">–</span>')
                continue
            mark = marked.get((doc, sampler, steps), "")
            text = markup.spread(point.figures[key], digits)
            text += " ≈" if mark == "tie" else ""
            cells.append(f'<span class="{mark}">{text}</span>{markup.evaluations(point.nfe)}')
        rows.append(cells)
    return markup.table(["", *map(steps_title, study.steps)], rows, "figures")


def _name(study: Study, doc: str, sampler: str) -> str:
    above = f'<span class="doc">{escape(doc)}</span>' if len(study.docs) > 1 else ""
    return f"{above}{escape(sampler)}"


def _seeds(study: Study) -> str:
    seeds = study.seeds
    if len(seeds) == 1:
        return f"one seed ({seeds[0]})"
    return f"mean ± standard deviation over {len(seeds)} seeds of the sampling noise"


def _yardstick(study: Study) -> str:
    halves = study.dataset.get("real_halves_distance")
    if not isinstance(halves, int | float):
        return ""
    images = study.dataset.get("images")
    each = f" ({images // 2:,} each)" if isinstance(images, int) else ""
    return (
        f'<p class="yardstick">Yardstick: two random halves of the real images{each} are '
        f"<b>{halves:.4g}</b> apart by the same features.</p>"
    )
