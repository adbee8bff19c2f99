"""Cells that a sweep was asked for and has not measured."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import product

from runners.record.cells import Cell
from runners.record.sweep_folder import Sweep
from runners.report.wording import steps_title

SHOWN = 5  # points with missing cells that are named one by one


def missing(sweep: Sweep) -> list[tuple[int, str]]:
    """Missing cells by point: how many, and which.

    They are those of the sweep's plan. A sweep of an older program has none: there every
    combination of its docs, samplers, steps and seeds is expected.
    """
    plan = sweep.settings.plan
    finished = {cell.key for cell in sweep.cells}
    lost: dict[tuple[str, str, str, int | None], list[int]] = {}
    for cell in dict.fromkeys(_expected(sweep.cells) if plan is None else plan):
        if cell.key not in finished:
            point = (cell.doc, cell.sampler, cell.grid, cell.steps)
            lost.setdefault(point, []).append(cell.seed)
    return [
        (
            len(seeds),
            f"{sampler}@{grid} on {doc}, {steps_title(steps)}, seed {', '.join(map(str, seeds))}",
        )
        for (doc, sampler, grid, steps), seeds in lost.items()
    ]


def warning(sweep: Sweep) -> str:
    """The missing cells in words, plain text; empty where there are none."""
    found = missing(sweep)
    if not found:
        return ""
    lost = sum(number for number, _ in found)
    old = sweep.settings.plan is None
    guess = " (a guess from the others: this sweep has no plan)" if old else ""
    named = "; ".join(text for _, text in found[:SHOWN])
    more = "; ..." if len(found) > SHOWN else ""
    return f"{lost} of {lost + len(sweep.cells)} cells are missing{guess}: {named}{more}"


def _expected(cells: Iterable[Cell]) -> Iterator[Cell]:
    """Every doc x sampler x steps x seed that occurs."""
    cells = list(cells)
    docs = dict.fromkeys(cell.doc for cell in cells)
    samplers = dict.fromkeys((cell.sampler, cell.grid, cell.steps is None) for cell in cells)
    steps = sorted({cell.steps for cell in cells if cell.steps is not None})
    seeds = sorted({cell.seed for cell in cells})
    for doc, (sampler, grid, adaptive) in product(docs, samplers):
        for asked, seed in product([None] if adaptive else steps, seeds):
            yield Cell(doc, sampler, grid, asked, seed)
