"""What a sweep left behind: `sweep.json` and the finished cells of all its shards."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from configs.problems import ConfigError

log = logging.getLogger("skip_step")

FORMAT = 1
# Without these in it a sweep.json is none.
COMMON = {"metrics", "dataset", "image", "docs"}
# Without these a line is no cell; everything else of one may be missing or null.
NEEDED = {"cell", "doc", "sampler", "grid", "seed", "nfe", "figures"}


@dataclass(frozen=True)
class Cell:
    """One finished cell: what was drawn and what came out.

    key: the cell's name within its sweep; steps: as asked, None for an adaptive sampler; nfe:
    network evaluations per image; figures: by label; seconds: per image, NaN where unknown; sheet:
    picture of the first images, None where there is none; neighbours: (training index, feature
    distance) of the first images; record: the whole line.
    """

    key: str
    doc: str
    sampler: str
    grid: str
    clip: bool
    steps: int | None
    nfe: float
    seed: int
    figures: dict[str, float]
    seconds: float
    sheet: Path | None
    neighbours: list[tuple[int, float]]
    record: dict[str, Any]


@dataclass(frozen=True)
class Sweep:
    """A sweep's folder: meta is its sweep.json, cells are the finished ones, in file order."""

    folder: Path
    meta: dict[str, Any]
    cells: list[Cell]

    @property
    def name(self) -> str:
        """The sweep's name; its folder's where sweep.json says none."""
        return str(self.meta.get("name") or self.folder.name)


def load(folder: Path) -> Sweep:
    """Read a sweep's folder. Of a cell that two shards finished, the last line counts; a line that
    a killed job left unfinished is ignored.

    Raises ConfigError for a folder without a readable sweep.json, or of another format.
    """
    meta = _meta(folder / "sweep.json")
    cells: dict[str, Cell] = {}
    for path in sorted(folder.glob("cells-*.jsonl")):
        for record in _records(path):
            cells.pop(record["cell"], None)  # the later one also takes the later place
            cells[record["cell"]] = _cell(folder, record)
    return Sweep(folder, meta, list(cells.values()))


def _meta(path: Path) -> dict[str, Any]:
    try:
        meta = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as err:
        raise ConfigError(f"{path.parent} is no sweep's folder: it has no {path.name}") from err
    except ValueError as err:  # not JSON, or not UTF-8
        raise ConfigError(f"{path} is damaged ({err}); run the sweep under another name") from err
    found = meta.get("format") if isinstance(meta, dict) else None
    if found != FORMAT:
        raise ConfigError(f"{path} has format {found}; this program reads format {FORMAT}")
    if lacking := sorted(COMMON - meta.keys()) or "distance" not in meta["metrics"]:
        named = ", ".join(lacking) if isinstance(lacking, list) else "metrics.distance"
        raise ConfigError(f"{path} lacks {named}; run the sweep under another name")
    return meta


def _records(path: Path) -> list[dict[str, Any]]:
    lines = path.read_bytes().split(b"\n")
    found = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except ValueError:
            record = None
        if isinstance(record, dict) and record.keys() >= NEEDED:
            found.append(record)
        elif number < len(lines):  # the last one is what a kill leaves behind
            log.warning("%s: line %d is damaged and not counted", path, number)
    return found


def _cell(folder: Path, record: dict[str, Any]) -> Cell:
    sheet = record.get("sheet")
    return Cell(
        key=record["cell"],
        doc=record["doc"],
        sampler=record["sampler"],
        grid=record["grid"],
        clip=bool(record.get("clip")),
        steps=record.get("steps"),
        nfe=number(record["nfe"]),
        seed=record["seed"],
        figures={name: number(value) for name, value in record["figures"].items()},
        seconds=number(record.get("seconds_per_image")),
        sheet=folder / sheet if sheet else None,
        neighbours=[(int(i), number(d)) for i, d in record.get("neighbours") or []],
        record=record,
    )


def number(value: Any) -> float:
    """A float; NaN for what is none."""
    return float(value) if isinstance(value, int | float) else float("nan")
