"""Progress of a sweep: a bar at a terminal, else a line for every cell."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Sequence

from tqdm import tqdm

from runners.machine.processes import Ranks
from runners.record.cells import Cell
from runners.sweep.schedule import Task

log = logging.getLogger("skip_step")


class Progress:
    """Bar over the evaluations of all cells at a terminal, else a line for every cell."""

    def __init__(self, todo: Sequence[Task], total: int, ranks: Ranks) -> None:
        self.total, self.number = total, total - len(todo)
        self.left = sum(task.cost for task in todo)
        self.done, self.began = 0.0, time.perf_counter()
        shape = "{desc} {percentage:3.0f}%|{bar}| {elapsed}, {remaining} left"
        off = not (ranks.first and sys.stderr.isatty())
        self.bar = tqdm(total=self.left, disable=off, leave=False, bar_format=shape)

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_error: object) -> None:
        self.bar.close()

    def advance(self, task: Task, share: float) -> None:
        """Count a share of a cell's images."""
        text = f"cell {self.number + 1}/{self.total} {task.cell.key}"
        self.bar.set_description_str(text, False)
        self.bar.update(task.cost * share)

    def skip(self, task: Task) -> None:
        """Count a cell that another job has finished."""
        self.number += 1
        self.left -= task.cost
        self.bar.update(task.cost)

    def finish(self, task: Task, cell: Cell) -> None:
        """Count a measured cell."""
        self.number, self.done = self.number + 1, self.done + task.cost
        self.left -= task.cost
        if not self.bar.disable or cell.result is None:
            return
        left = (time.perf_counter() - self.began) / self.done * self.left
        label, value = next(iter(cell.result.figures.items()))
        text = f"cell {self.number}/{self.total} {cell.key}: {label} {value:.5g}"
        per_image = cell.result.seconds_per_image
        log.info("%s, %.3g s per image, about %s left", text, per_image, _span(left))


def _span(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes}:{rest:02d} min"
