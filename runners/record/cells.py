"""What a sweep left behind: `sweep.json` and the finished cells of all its shards."""

from __future__ import annotations

import json
import logging
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from configs.schema.problems import ConfigError

log = logging.getLogger("skip_step")

FORMAT = 1
KINDS: dict[str, type | tuple[type, ...]] = {
    **{"text": str, "true or false": bool, "whole number": int, "number": (int, float)},
    **{"mapping": dict, "list": list},
}
# What everything in here relies on: kind by entry; one that ends in ? may be missing or null.
COMMON = {
    **{"metrics": "mapping", "dataset": "mapping", "image": "list", "docs": "mapping"},
    **{"plan": "list?"},
}
DOC = {
    **{"run": "text", "config": "mapping", "weights_sha256": "text"},
    **{"training_step": "whole number?"},
}
SECTIONS = {"loss": "mapping?", "diffusion": "mapping?", "model": "mapping?"}  # of a doc's config
CELL = {
    **{"cell": "text", "doc": "text", "sampler": "text", "grid": "text", "seed": "whole number"},
    **{"nfe": "number", "figures": "mapping", "steps": "whole number?", "clip": "true or false?"},
    **{"seconds_per_image": "number?", "sheet": "text?", "neighbours": "list?"},
    **{"sampler_name": "text?", "options": "mapping?", "warnings": "list?"},
}


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

    @property
    def plan(self) -> list[str] | None:
        """Keys of all cells that were ever asked for; None where an older program kept none."""
        return self.meta.get("plan")


def load(folder: Path) -> Sweep:
    """Read a sweep's folder. Of a cell that two shards finished, the last line counts; a line that
    a killed job left unfinished is ignored; a damaged one is named in the log and not counted.

    Raises ConfigError for a folder without a sound sweep.json, or of another format.
    """
    meta = _meta(folder / "sweep.json")
    cells: dict[str, Cell] = {}
    for path in sorted(folder.glob("cells-*.jsonl")):
        for cell in _cells(path):
            cells.pop(cell.key, None)  # the later one also takes the later place
            cells[cell.key] = cell
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
    try:
        _check_meta(meta)
    except ValueError as err:
        raise ConfigError(f"{path} is damaged: {err}; run the sweep under another name") from err
    return meta


def _check_meta(meta: dict[str, Any]) -> None:
    """Raises ValueError that names what is lacking or of another kind."""
    _check(meta, COMMON)
    _check(
        meta["metrics"], {"distance": "text", **dict.fromkeys(meta["metrics"], "text")}, "metrics."
    )
    _check(meta["dataset"], {"fingerprint": "text"}, "dataset.")
    image = meta["image"]
    if len(image) != 3 or not all(type(size) is int and size > 0 for size in image):
        raise ValueError(f"image is {_short(image)}, not [channels, height, width]")
    if not meta["docs"]:
        raise ValueError("docs is empty")
    _check(meta["docs"], dict.fromkeys(meta["docs"], "mapping"), "docs.")
    for name, doc in meta["docs"].items():
        _check(doc, DOC, f"docs.{name}.")
        _check(doc["config"], SECTIONS, f"docs.{name}.config.")
    for key in meta.get("plan") or []:
        if not isinstance(key, str) or key.count("|") < 3:
            raise ValueError(f"plan has {_short(key)}, not DOC|SAMPLER@GRID|STEPS|SEED")


def _check(values: dict[str, Any], kinds: dict[str, str], where: str = "") -> None:
    for key, kind in kinds.items():
        value, wanted = values.get(key), KINDS[kind.rstrip("?")]
        if value is None and kind.endswith("?"):
            continue
        if key not in values:
            raise ValueError(f"it lacks {where}{key}")
        if not isinstance(value, wanted) or (isinstance(value, bool) and wanted is not bool):
            raise ValueError(f"{where}{key} is {_short(value)}, not a {kind.rstrip('?')}")


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else text[:37] + "..."


def _cells(path: Path) -> list[Cell]:
    lines = path.read_bytes().split(b"\n")
    found = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            found.append(_cell(path.parent, json.loads(line)))
        except (ValueError, OverflowError) as err:
            if number < len(lines):  # the last one is what a kill leaves behind
                log.warning("%s: line %d is damaged and not counted: %s", path, number, err)
    return found


def _cell(folder: Path, record: Any) -> Cell:
    """Raises ValueError or OverflowError for what is no cell."""
    if not isinstance(record, dict):
        raise ValueError(f"{_short(record)} is no mapping")
    _check(record, CELL)
    if not math.isfinite(record["nfe"]):
        raise ValueError(f"nfe is {record['nfe']}, not finite")
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
        neighbours=[_neighbour(entry) for entry in record.get("neighbours") or []],
        record=record,
    )


def _neighbour(entry: Any) -> tuple[int, float]:
    match entry:
        case [int(index), int() | float() as distance] if index >= 0:
            return index, float(distance)
    raise ValueError(f"neighbours has {_short(entry)}, not [training index, distance]")


def number(value: Any) -> float:
    """A float; NaN for what is none."""
    return float(value) if isinstance(value, int | float) else float("nan")
