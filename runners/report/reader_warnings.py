"""Warnings of a report: what a reader of its numbers must know."""

from __future__ import annotations

import math
from collections import Counter

from runners.record.sweep_settings import MAIN
from runners.report import missing_cells
from runners.report.comparison import Comparison
from runners.report.markup import escape
from runners.report.statistics import number

FULL = 50_000  # samples of a distance that compares with published ones


def warnings(comparison: Comparison) -> list[str]:
    """All warnings, plain text, gravest first."""
    found = []
    for sweep in comparison.sweeps:
        if text := missing_cells.warning(sweep):
            several = len(comparison.sweeps) > 1
            found.append(f"{sweep.settings.name}: {text}" if several else text)
    label = comparison.distance.label
    lost = sum(
        not math.isfinite(number(cell.measured.figures.get(sweep.settings.metrics[MAIN])))
        for sweep in comparison.sweeps
        for cell in sweep.cells
    )
    if lost:
        found.append(f"{lost} cells have no finite {label}; means leave them out")
    n, extractor = comparison.settings.n_samples, comparison.dataset.get("extractor")
    if n < FULL:
        found.append(
            f"{n:,} samples per cell, fewer than {FULL:,}: distances are biased upwards and do not "
            "compare with published ones"
        )
    if extractor != "inception":
        found.append(
            f"features: {extractor}, not the published Inception network; {label} compares only "
            "with itself"
        )
    raw = [doc.label for doc in comparison.runs if doc.run.average == "raw"]
    if raw:
        found.append(f"raw weights, not their moving average: {', '.join(raw)}")
    if any(sweep.settings.recipe.tf32 for sweep in comparison.sweeps):
        found.append("TF32 is on: matrix products are rounded to 10 bits of mantissa")
    return found + _of_cells(comparison)


def _of_cells(comparison: Comparison) -> list[str]:
    """Warnings of the cells, each once, with the number of cells that have it."""
    said: Counter[str] = Counter()
    for cell in comparison.cells:
        said.update(set(cell.measured.warnings or []))
    return [
        f"{text} (in {times:,} cell{'' if times == 1 else 's'})"
        for text, times in said.most_common()
    ]


def as_html(comparison: Comparison) -> str:
    """The warnings as a list; empty where there are none."""
    items = "".join(f"<li>{escape(text)}</li>" for text in warnings(comparison))
    return f'<ul class="warnings">{items}</ul>' if items else ""
