"""A TensorBoard HParams entry: one row per (doc, sampler, steps), means over seeds."""

from __future__ import annotations

import hashlib
import math
import re
from contextlib import suppress
from pathlib import Path

from runners.report.comparison import Comparison, Point

FILE = "events.out.tfevents.0.report"  # one fixed name: written anew with every report
ADAPTIVE = "adaptive"  # in the place of a number of steps


def write(comparison: Comparison, folder: Path) -> list[Path]:
    """Write one small event file for each point below `folder`; returns them.

    HParams takes each folder as a row, so rows of earlier reports that are no longer points are
    removed.
    """
    from tensorboard.summary.writer.record_writer import RecordWriter  # slow to import

    files = []
    for point in comparison.points:
        path = folder / _slug(point) / FILE
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            records = RecordWriter(file)
            for event in _events(comparison, point):
                records.write(event)
            records.flush()
        files.append(path)
    for stale in set(folder.glob(f"*/{FILE}")) - set(files):
        stale.unlink()
        with suppress(OSError):  # it holds what this program did not write
            stale.parent.rmdir()
    return files


def _events(comparison: Comparison, point: Point) -> list[bytes]:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from torch.utils.tensorboard.summary import hparams

    cell = point.cells[0]
    values = {
        "doc": point.doc,
        "sampler": cell.sampler,
        "grid": cell.grid,
        "steps": ADAPTIVE if point.steps is None else point.steps,
        "nfe": point.nfe,
        "seeds": len(point.cells),
    }
    figures = {m.label: point.figures[m.name].mean for m in comparison.metrics}
    figures["seconds_per_image"] = point.seconds.mean
    figures = {label: value for label, value in figures.items() if math.isfinite(value)}
    summaries = [*hparams(values, figures)]
    for label, value in figures.items():
        summaries.append(Summary(value=[Summary.Value(tag=label, simple_value=value)]))
    head = Event(wall_time=0, file_version="brain.Event:2")
    events = [head, *(Event(wall_time=0, step=0, summary=one) for one in summaries)]
    return [event.SerializeToString() for event in events]


def _slug(point: Point) -> str:
    """Name of a folder: readable, and distinct also where the readable parts are equal."""
    steps = ADAPTIVE if point.steps is None else point.steps
    text = f"{point.doc}|{point.sampler}|{steps}"
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-.")[:80] + "-" + digest
