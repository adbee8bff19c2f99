"""Cells that a sweep should have and has not."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product

from runners.record.cells import Sweep
from runners.report.study import steps_title

SHOWN = 5  # points with missing cells that are named one by one


def missing(sweep: Sweep) -> list[tuple[int, str]]:
    """Missing cells by point: how many, and which. By the sweep's plan, or, where an old one has
    none, as the other cells lead one to expect.
    """
    return _expected(sweep) if sweep.plan is None else _planned(sweep, sweep.plan)


def warning(sweep: Sweep) -> str:
    """The missing cells in words, plain text; empty where there are none."""
    found = missing(sweep)
    if not found:
        return ""
    lost = sum(number for number, _ in found)
    guess = " (a guess from the others: this sweep has no plan)" if sweep.plan is None else ""
    named = "; ".join(text for _, text in found[:SHOWN])
    more = "; ..." if len(found) > SHOWN else ""
    return f"{lost} of {lost + len(sweep.cells)} cells are missing{guess}: {named}{more}"


def _planned(sweep: Sweep, plan: Iterable[str]) -> list[tuple[int, str]]:
    finished = {cell.key for cell in sweep.cells}
    lost: dict[str, list[str]] = {}
    for key in dict.fromkeys(plan):
        if key not in finished:
            point, _, seed = key.rpartition("|")
            lost.setdefault(point, []).append(seed)
    return [(len(seeds), f"{_title(point)}, {_seeds(seeds)}") for point, seeds in lost.items()]


def _title(point: str) -> str:
    """Of DOC|SAMPLER@GRID|STEPS."""
    doc, sampler, steps = point.rsplit("|", 2)
    return f"{sampler} on {doc}, {steps_title(int(steps) if steps.isdecimal() else None)}"


def _seeds(seeds: Iterable[object]) -> str:
    return f"seed {', '.join(map(str, seeds))}"


def _expected(sweep: Sweep) -> list[tuple[int, str]]:
    """All docs x samplers x steps x seeds that occur."""
    docs = list(dict.fromkeys(cell.doc for cell in sweep.cells))
    kinds = dict.fromkeys((c.sampler, c.grid, c.steps is None) for c in sweep.cells)
    steps = sorted({c.steps for c in sweep.cells if c.steps is not None})
    seeds = sorted({cell.seed for cell in sweep.cells})
    there = {(c.doc, c.sampler, c.grid, c.steps, c.seed) for c in sweep.cells}
    found = []
    for doc, (sampler, grid, adaptive) in product(docs, kinds):
        for asked in [None] if adaptive else steps:
            lost = [s for s in seeds if (doc, sampler, grid, asked, s) not in there]
            if lost:
                text = f"{sampler}@{grid} on {doc}, {steps_title(asked)}, {_seeds(lost)}"
                found.append((len(lost), text))
    return found
