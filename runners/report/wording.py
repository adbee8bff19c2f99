"""Numbers in words, the same in every file of a report."""

from __future__ import annotations


def steps_title(steps: int | None) -> str:
    """`10 steps`, or `adaptive` for None."""
    return "adaptive" if steps is None else f"{steps:,} step{'' if steps == 1 else 's'}"


def count(value: float) -> str:
    """A number of evaluations: whole where it is whole."""
    return f"{value:,.0f}" if value == round(value) else f"{value:,.1f}"


def images(value: float) -> str:
    """A number of training images in at most three digits: `640`, `19.2k`, `25.6M`."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= 0.9995 * size:
            return (
                f"{value / size:.3g}{unit}" if value < 999.5 * size else f"{value / size:.0f}{unit}"
            )
    return f"{value:.3g}"


def seeds(n: int) -> str:
    """`1 seed`, `3 seeds`."""
    return f"{n} seed{'' if n == 1 else 's'}"
