"""How far a sweep has come, and how long it will still take."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Sequence
from typing import Any, Protocol

from tqdm import tqdm

from runners.machine.processes import Ranks

log = logging.getLogger("skip_step")


class Part(Protocol):
    """A part of the work: what it is called, and what it costs in any unit."""

    @property
    def key(self) -> str:
        """Its name."""

    @property
    def cost(self) -> float:
        """Its share of the work."""


class Progress:
    """A bar over the evaluations of all cells, at a terminal; else a line for every cell."""

    def __init__(self, todo: Sequence[Part], total: int, ranks: Ranks) -> None:
        self.total, self.number = total, total - len(todo)
        self.left = sum(cell.cost for cell in todo)
        self.done, self.began = 0.0, time.perf_counter()
        shape = "{desc} {percentage:3.0f}%|{bar}| {elapsed}, {remaining} left"
        off = not (ranks.first and sys.stderr.isatty())
        self.bar = tqdm(total=self.left, disable=off, leave=False, bar_format=shape)

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_error: object) -> None:
        self.bar.close()

    def advance(self, cell: Part, part: float) -> None:
        """A part of a cell's images is there."""
        self.bar.set_description_str(f"cell {self.number + 1}/{self.total} {cell.key}", False)
        self.bar.update(cell.cost * part)

    def skip(self, cell: Part) -> None:
        """A cell turned out to be finished."""
        self.number += 1
        self.left -= cell.cost
        self.bar.update(cell.cost)

    def finish(self, cell: Part, record: dict[str, Any]) -> None:
        """A cell is measured."""
        self.number, self.done = self.number + 1, self.done + cell.cost
        self.left -= cell.cost
        if not self.bar.disable or not record:
            return
        left = (time.perf_counter() - self.began) / self.done * self.left
        label, value = next(iter(record["figures"].items()))
        text = f"cell {self.number}/{self.total} {cell.key}: {label} {value:.5g}"
        log.info(
            "%s, %.3g s an image, about %s left", text, record["seconds_per_image"], _span(left)
        )


def _span(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes}:{rest:02d} min"
