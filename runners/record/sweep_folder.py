"""A sweep's folder: what is common to its cells, and one file of finished cells per shard."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from configs.schema import ConfigError
from runners.record import cells, files

try:
    import fcntl
except ModuleNotFoundError:  # Windows: nobody is kept out
    fcntl = None  # type: ignore[assignment]

log = logging.getLogger("skip_step")

# What is compared otherwise or says nothing new: a seed is in each cell's name, docs are compared
# by their weights, the plan grows, metrics follow from extractor and n_samples, and distances of
# real images are rounded differently from place to place.
DISTANCES = ("dataset.real_halves_distance", "dataset.same_size_distance")
FREE = ("name", "seed", "docs", "plan", "metrics", *DISTANCES)


class Shard:
    """The file of this job's finished cells; locked, so that no other job has it, until closed.

    The system takes the lock away when the process dies, however it dies.
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

    def add(self, record: dict[str, Any]) -> None:
        """Append one finished cell; it is on the disk when this returns."""
        self.file.write(json.dumps(record).encode() + b"\n")
        self.file.flush()
        os.fsync(self.file.fileno())

    def close(self) -> None:
        """Let others have it."""
        self.file.close()

    def _drop_unfinished(self) -> None:
        """A job that was killed while it wrote a line leaves a part of it."""
        text = self.path.read_bytes()
        whole = text.rfind(b"\n") + 1
        if whole < len(text):
            log.warning("%s: dropped a line that a killed job left unfinished", self.path)
            self.file.truncate(whole)


def claim(folder: Path, meta: dict[str, Any], part: tuple[int, int], overwrite: bool) -> Shard:
    """Enter the folder of a sweep, or make it, and take this shard's file.

    Raises ConfigError where another job has it, or where its cells were made otherwise or nobody
    knows how; nothing in the folder has changed then.
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
            meta = _united(folder, cells.load(folder).meta, meta)
        elif any(file.stat().st_size for file in found):
            raise ConfigError(
                f"{folder} holds cells but no sweep.json, so nobody knows how they were made; give "
                "this sweep another --name, or move the folder aside with --overwrite"
            )
        folder.mkdir(exist_ok=True)
        shard = Shard(folder, part)
        files.write_text(path, json.dumps(meta, indent=1) + "\n")
    return shard


@contextmanager
def guard(folder: Path) -> Iterator[None]:
    """One job at a time changes what jobs have in common: sweep.json and the report."""
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


def _united(folder: Path, old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """The sweep with the runs and cells of both. Raises ConfigError that names everything in which
    the two differ.
    """
    then, now = _flat(old), _flat(new)
    differing = [
        f"{key} was {then.get(key)}, now {now.get(key)}"
        for key in sorted((then.keys() | now.keys()) - set(FREE))
        if then.get(key) != now.get(key)
    ]
    for doc in old["docs"].keys() & new["docs"].keys():
        a, b = old["docs"][doc], new["docs"][doc]
        if a["weights_sha256"] != b["weights_sha256"]:
            steps = f"step {a['training_step']} then, step {b['training_step']} now"
            differing.append(f"weights of {doc} ({steps}; --sampling.ckpt_id names one)")
    if differing:
        raise ConfigError(
            f"{folder} holds cells made otherwise ({'; '.join(differing)}); give this sweep "
            "another --name, or move the old one aside with --overwrite"
        )
    plan = dict.fromkeys([*(old.get("plan") or []), *new["plan"]])
    return {**old, "docs": {**old["docs"], **new["docs"]}, "plan": list(plan)}


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested values by dotted key; docs stay out."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict) and key not in FREE:
            found |= _flat(value, f"{prefix}{key}.")
        else:
            found[prefix + key] = value
    return found
