"""Numbers in words, the same in every file of a report."""

from __future__ import annotations


def steps_title(steps: int | None) -> str:
    """`10 steps`, or `adaptive` for None."""
    return "adaptive" if steps is None else f"{steps:,} step{'' if steps == 1 else 's'}"


def count(value: float) -> str:
    """A number of evaluations: whole where it is whole."""
    return f"{value:,.0f}" if value == round(value) else f"{value:,.1f}"


def seeds(n: int) -> str:
    """`1 seed`, `3 seeds`."""
    return f"{n} seed{'' if n == 1 else 's'}"
