"""Training curves from a run's metrics.jsonl, thinned to what a chart can show."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

MOST = 400  # points of a curve; more are averaged in bins


@dataclass(frozen=True)
class Curve:
    """Loss along a training: as written (or averaged in bins), smoothed, and held out as (x,
    losses). x: on the axis that was asked for.
    """

    title: str
    x: np.ndarray
    loss: np.ndarray
    smooth: np.ndarray
    held_out: tuple[np.ndarray, np.ndarray]


def read_curve(title: str, run: Path, axis: str = "steps", per_step: int = 1) -> Curve | None:
    """Read the curve of a run's folder; None where its metrics.jsonl is missing, or holds no finite
    loss. axis: steps, images or hours. per_step: images of one update, of which version 0.2.0 did
    not write the sum.
    """
    lines = records(run)
    places = _along(lines, axis, per_step)
    x, loss = _column(lines, places, "loss")
    if not len(x):
        return None
    size = -(-len(x) // MOST)
    x, loss = _binned(x, size), _binned(loss, size)
    return Curve(title, x, loss, smoothed(loss), _column(lines, places, "held_out/loss"))


def _along(lines: Sequence[dict[str, Any]], axis: str, per_step: int) -> list[Any]:
    """Place of every line on the axis. Where a run has lines of version 0.2.0, which did not write
    the seconds of training, hours are those of the clock since its first line.
    """
    if axis == "steps":
        return [line.get("step") for line in lines]
    if axis == "images":
        return [line.get("images", line.get("step", 0) * per_step) for line in lines]
    key = "seconds" if all("seconds" in line for line in lines) else "time"
    first = next((line[key] for line in lines if key in line), 0) if key == "time" else 0
    return [(line[key] - first) / 3600 if key in line else None for line in lines]


def smoothed(values: np.ndarray) -> np.ndarray:
    """Running geometric mean over about a tenth of the curve, over less at its ends."""
    reach = max(1, len(values) // 20)
    logs = np.log(np.maximum(values, np.finfo(float).tiny))
    windows = [logs[max(0, i - reach) : i + reach + 1] for i in range(len(logs))]
    return np.exp([window.mean() for window in windows])


def records(run: Path) -> list[dict[str, Any]]:
    """Lines of a run's metrics.jsonl; none where it is missing."""
    path, found = run / "metrics.jsonl", []
    if not path.is_file():
        return []
    for line in path.read_bytes().splitlines():
        try:
            record = json.loads(line)
        except ValueError:  # the last line of a killed run
            continue
        if isinstance(record, dict) and _is_number(record.get("step")):
            found.append(record)
    return found


def _column(
    lines: Sequence[dict[str, Any]], places: Sequence[Any], name: str
) -> tuple[np.ndarray, np.ndarray]:
    pairs = [(x, line.get(name)) for x, line in zip(places, lines, strict=True)]
    kept = [(x, v) for x, v in pairs if _is_number(x) and _is_number(v)]
    found, values = zip(*kept, strict=True) if kept else ((), ())
    return np.array(found, dtype=float), np.array(values, dtype=float)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _binned(values: np.ndarray, size: int) -> np.ndarray:
    return np.array([values[i : i + size].mean() for i in range(0, len(values), size)])
