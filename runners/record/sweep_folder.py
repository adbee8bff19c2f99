"""A sweep's folder: what its cells share, and one file of finished cells per shard."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from configs.schema.problems import ConfigError
from runners.record import files
from runners.record.cells import Cell
from runners.record.recipe import Recipe
from runners.record.sweep_settings import Settings

try:
    import fcntl
except ModuleNotFoundError:  # Windows: nobody is kept out
    fcntl = None  # type: ignore[assignment]

SAID = 8  # differences that are named one by one

log = logging.getLogger("skip_step")


@dataclass(frozen=True)
class Sweep:
    """A sweep as it was read: its folder, its settings, its finished cells in file order."""

    folder: Path
    settings: Settings
    cells: list[Cell]


def load(folder: Path) -> Sweep:
    """Read a sweep's folder. Raises ConfigError where its sweep.json is missing or damaged."""
    settings = Settings.read(folder / "sweep.json")
    return Sweep(folder, settings, list(Finished(folder, settings).read().values()))


class Finished:
    """Finished cells of all shards, read as their files grow: no line is read twice."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        self.folder, self.settings = folder, settings
        self.cells: dict[str, Cell] = {}
        self.seen: dict[Path, tuple[int, int]] = {}  # bytes and lines of each file

    def read(self) -> dict[str, Cell]:
        """All finished cells by key. Of a cell that two shards finished, the later line counts.

        A damaged line is named in the log and not counted; a last line without an end is what a
        killed job leaves behind, or what another job is about to write.
        """
        for path in sorted(self.folder.glob("cells-*.jsonl")):
            begin, number = self.seen.get(path, (0, 0))
            with path.open("rb") as file:
                file.seek(begin)
                *lines, rest = file.read().split(b"\n")
            for number, line in enumerate(lines, number + 1):  # noqa: B020
                try:
                    self._add(line)
                except ValueError as err:
                    text = "%s: line %d is damaged and not counted: %s"
                    log.warning(text, path, number, err)
                begin += len(line) + 1
            self.seen[path] = begin, number
        return self.cells

    def _add(self, line: bytes) -> None:
        if line.strip():
            cell = Cell.from_json(json.loads(line), self.settings.of_doc)
            self.cells.pop(cell.key, None)  # the later one also takes the later place
            self.cells[cell.key] = cell


class Shard:
    """This job's part of a sweep: the file of its finished cells, which no other job may fill.

    The system takes the lock of the file away when the process dies, however it dies.
    """

    def __init__(self, folder: Path, part: tuple[int, int]) -> None:
        self.path = folder / "cells-{}-of-{}.jsonl".format(*part)
        self.file = self.path.open("ab")
        if not _locked(self.file):
            self.close()
            raise ConfigError(
                f"{self.path}: another job is filling this sweep; give every job a --shard I/N of "
                "its own, or wait for that one"
            )
        self._drop_unfinished()

    def add(self, cell: Cell) -> None:
        """Append a finished cell; it is on the disk when this returns."""
        self.file.write(json.dumps(cell.to_json()).encode() + b"\n")
        self.file.flush()
        os.fsync(self.file.fileno())

    def close(self) -> None:
        """Unlock the file."""
        self.file.close()

    def _drop_unfinished(self) -> None:
        """Remove the part of a line that a job left which was killed while it wrote."""
        text = self.path.read_bytes()
        whole = text.rfind(b"\n") + 1
        if whole < len(text):
            log.warning("%s: dropped a line that a killed job left unfinished", self.path)
            self.file.truncate(whole)


def claim(
    folder: Path,
    settings: Settings,
    recipes: Mapping[str, Recipe],
    part: tuple[int, int],
    overwrite: bool,
) -> tuple[Shard, Finished]:
    """Enter the folder of a sweep, or make it, and take the file of this shard.

    settings, recipes: of this command's cells, the latter by key. Raises ConfigError where another
    job has the file, or where the cells in the folder were made otherwise or nobody knows how;
    nothing in the folder has changed then.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with guard(folder):
        if overwrite and folder.exists():
            if busy := _busy(folder, "cells-*.jsonl"):
                raise ConfigError(f"--overwrite: {busy} is being filled by another job")
            files.move_aside(folder)
        found = list(folder.glob("cells-*.jsonl"))
        others = [path for path in found if f"-of-{part[1]}." not in path.name]
        if busy := next((path for path in others if _busy(folder, path.name)), None):
            raise ConfigError(f"{busy}: another job divides this sweep otherwise; give the same N")
        path = folder / "sweep.json"
        if path.exists():
            settings = _united(load(folder), settings, recipes)
        elif any(file.stat().st_size for file in found):
            raise ConfigError(
                f"{folder} holds cells but no sweep.json, so nobody knows how they were made; give "
                "this sweep another --name, or move the folder aside with --overwrite"
            )
        folder.mkdir(exist_ok=True)
        shard = Shard(folder, part)
        files.write_text(path, settings.text())
    return shard, Finished(folder, settings)


def _united(then: Sweep, now: Settings, recipes: Mapping[str, Recipe]) -> Settings:
    """Settings of both. Raises ConfigError that says everything in which they differ."""
    differing = then.settings.differs(now)
    for cell in then.cells if not differing else ():
        if cell.key in recipes and (texts := cell.measured.recipe.differs(recipes[cell.key])):
            differing.append(f"{cell.key}: {', '.join(texts)}")
    if differing:
        more = f"; and {len(differing) - SAID} more" if len(differing) > SAID else ""
        raise ConfigError(
            f"{then.folder} holds cells made otherwise ({'; '.join(differing[:SAID])}{more}); give "
            "this sweep another --name, or move the old one aside with --overwrite"
        )
    return then.settings.united(now)


@contextmanager
def guard(folder: Path) -> Iterator[None]:
    """Let one job at a time change what jobs have in common: sweep.json and the report."""
    with (folder.parent / ".lock").open("ab") as file:
        if fcntl:
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _locked(file: IO[bytes]) -> bool:
    try:
        if fcntl:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _busy(folder: Path, pattern: str) -> Path | None:
    for path in sorted(folder.glob(pattern)):
        with path.open("ab") as file:
            if not _locked(file):
                return path
    return None
