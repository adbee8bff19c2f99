"""Training curves from a run's metrics.jsonl, thinned to what a chart can show."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

MOST = 400  # points of a curve; more are averaged in bins


@dataclass(frozen=True)
class Curve:
    """Loss by training step: as written (or averaged in bins), smoothed, and held out as (steps,
    losses).
    """

    title: str
    steps: np.ndarray
    loss: np.ndarray
    smooth: np.ndarray
    held_out: tuple[np.ndarray, np.ndarray]


def read_curve(title: str, run: Path) -> Curve | None:
    """Read the curve of a run's folder; None where its metrics.jsonl is missing, or holds no finite
    loss.
    """
    path = run / "metrics.jsonl"
    if not path.is_file():
        return None
    records = _records(path)
    steps, loss = _column(records, "loss")
    if not len(steps):
        return None
    size = -(-len(steps) // MOST)
    steps, loss = _binned(steps, size), _binned(loss, size)
    return Curve(title, steps, loss, smoothed(loss), _column(records, "held_out/loss"))


def smoothed(values: np.ndarray) -> np.ndarray:
    """Running geometric mean over about a tenth of the curve, over less at its ends."""
    reach = max(1, len(values) // 20)
    logs = np.log(np.maximum(values, np.finfo(float).tiny))
    windows = [logs[max(0, i - reach) : i + reach + 1] for i in range(len(logs))]
    return np.exp([window.mean() for window in windows])


def _records(path: Path) -> list[dict[str, Any]]:
    found = []
    for line in path.read_bytes().splitlines():
        try:
            record = json.loads(line)
        except ValueError:  # the last line of a killed run
            continue
        if isinstance(record, dict):
            found.append(record)
    return found


def _column(records: list[dict[str, Any]], name: str) -> tuple[np.ndarray, np.ndarray]:
    pairs = [(r.get("step"), r.get(name)) for r in records]
    kept = [(s, v) for s, v in pairs if _is_number(s) and _is_number(v)]
    steps, values = zip(*kept, strict=True) if kept else ((), ())
    return np.array(steps, dtype=float), np.array(values, dtype=float)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _binned(values: np.ndarray, size: int) -> np.ndarray:
    return np.array([values[i : i + size].mean() for i in range(0, len(values), size)])
