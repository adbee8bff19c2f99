"""Loss by training time, and how often each time was drawn, from a run's metrics.jsonl."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from runners.report.training_curves import records

LAST = 0.1  # of the steps of a run: the loss by time changes while a network learns


@dataclass(frozen=True)
class ByTime:
    """Equal parts of the training times, from the cleanest on, over the last steps of a run.

    steps: the first and the last that count; loss: mean by part, NaN where no time was drawn;
    drawn: how often times of a part were drawn, 1 for as often as by even times; density: the same
    by the density that they were drawn from, weight: of a loss, both at the last step, None where
    that is not known.
    """

    steps: tuple[int, int]
    loss: np.ndarray
    drawn: np.ndarray
    density: np.ndarray | None
    weight: np.ndarray | None

    @property
    def weighted(self) -> bool:
        """Whether losses at some times weigh more than at others."""
        return self.weight is not None and float(np.ptp(self.weight)) > 0


def read_by_time(run: Path) -> ByTime | None:
    """Read the losses by time of a run's folder; None of a run that wrote none (version 0.2.0)."""
    lines = [line for line in records(run) if isinstance(line.get("by_time"), dict)]
    if not lines:
        return None
    end = lines[-1]["step"]
    used = [line for line in lines if line["step"] > (1 - LAST) * end]
    before = [line["step"] for line in lines if line["step"] < used[0]["step"]]
    parts = [line["by_time"] for line in used]
    loss, count = (np.sum([part[key] for part in parts], axis=0) for key in ("loss", "count"))
    with np.errstate(invalid="ignore"):
        mean = np.where(count > 0, loss / count, np.nan)
    density, weight = parts[-1].get("density"), parts[-1].get("weight")
    return ByTime(
        (before[-1] + 1 if before else 1, end),
        mean,
        count / count.sum() * len(count),
        None if density is None else np.array(density) * len(density),
        None if weight is None else np.array(weight),
    )
