"""Flags of --sweep, --curve and --report: lists read from text."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterator
from pathlib import Path, PurePath
from typing import Any, TypeVar

from configs import values
from configs.command import picture_flags
from configs.command.options import AXES
from configs.command.usage import UsageError

T = TypeVar("T")
Overrides = list[tuple[str, str, str]]

DRAWN = ("sweep", "curve")  # verbs that draw cells
ASIDE = re.compile(r"\.\d{8}-\d{6}(-\d+)?$")  # end of a name that `files.move_aside` gave
STEPS = "sampling.timesteps"
# One value of these would hold for a single sampler; a sweep has many, each with its own options.
SINGLE = [f"sampling.{key}" for key in ("sample_type", "order", "variable", "variance", "eta")]


def read(flags: argparse.Namespace) -> tuple[dict[str, Any], Overrides]:
    """Fields of Options, and the overrides that are left for the config.

    Raises UsageError with one line.
    """
    verb = next((verb for verb in DRAWN if getattr(flags, verb)), None)
    _check(flags, verb)
    overrides: Overrides = list(flags.overrides)
    docs = items("--docs", flags.docs, str)
    docs = (*([flags.doc] if flags.doc else []), *docs)
    if verb:
        docs = tuple(run for doc in docs for run in _runs(Path(flags.exp, "logs"), doc))
    docs = tuple(dict.fromkeys(docs))
    names = items("--name", flags.name, str)
    names = names or tuple(f"{doc}-curve" if flags.curve else doc for doc in docs[:1])
    found: dict[str, Any] = {
        "docs": docs,
        "names": names,
        "samplers": items("--samplers", flags.samplers, str),
    }
    if verb is None:
        return (found if flags.report else {}), overrides
    if len(names) > 1:
        raise UsageError(f"--name {flags.name}: a {verb} has one name")
    if docs:
        found["doc"] = docs[0]
    found["seeds"] = items("--seeds", flags.seeds, whole(0))
    found["shard"] = _shard(flags.shard)
    texts = [text for key, text, _ in overrides if key == STEPS]
    found["steps"] = items("--timesteps", texts[-1] if texts else None, whole(1))
    if flags.curve:
        found["snapshots"] = items("--snapshots", flags.snapshots, whole(1))
        for flag, key in (("--timesteps", "steps"), ("--samplers", "samplers")):
            if len(found[key]) > 1:
                raise UsageError(f"{flag} {','.join(map(str, found[key]))}: --curve takes one")
    return found, [item for item in overrides if item[0] != STEPS]


def _check(flags: argparse.Namespace, verb: str | None) -> None:
    for flag in ("samplers", "docs", "shard"):
        if getattr(flags, flag) is not None and not verb:
            raise UsageError(f"--{flag} needs --sweep or --curve")
    modes = picture_flags.owners().get("seeds", [])
    if flags.seeds is not None and not (verb or any(getattr(flags, m) for m in modes)):
        needs = values.either([f"--{name}" for name in (*DRAWN, *modes)])
        raise UsageError(f"--seeds needs {needs}")
    for flag in ("name", "axis"):
        if getattr(flags, flag) is not None and not (verb or flags.report):
            raise UsageError(f"--{flag} needs --sweep, --curve or --report")
    if flags.axis not in (None, *AXES):
        raise UsageError(f"--axis {flags.axis}: should be {values.either(AXES)}")
    if flags.snapshots is not None and not flags.curve:
        raise UsageError("--snapshots needs --curve")
    if not verb:
        return
    for key, _, flag in flags.overrides:
        if key in SINGLE and (flags.sweep or flags.samplers is not None):
            text = "give each sampler its options, as in --samplers ddim:0.5,deis:2:rho"
            with_what = "--sweep" if flags.sweep else "--samplers"
            raise UsageError(f"{flag} does not go with {with_what}; {text}")
        if key == "sampling.nfe":
            raise UsageError(f"{flag} does not go with --{verb}; name step counts by --timesteps")
        if key == "sampling.ckpt_id" and flags.curve:
            raise UsageError(f"{flag} does not go with --curve; name checkpoints by --snapshots")
        if key == "seed" and flags.seeds is not None:
            raise UsageError("--seed and --seeds exclude each other")


def _runs(logs: Path, item: str) -> Iterator[str]:
    """Names of the runs that an item of --docs means: itself, or those that match the pattern.

    A pattern has * or ?; runs that were moved aside never match. Raises UsageError where none does.
    """
    path = PurePath(item)
    outside = path.is_absolute() or ".." in path.parts  # refused later
    if not set("*?") & set(item) or outside or (logs / item).is_dir():
        yield item
        return
    runs = [run for run in logs.glob(item) if run.is_dir() and not ASIDE.search(run.name)]
    found = sorted(run.relative_to(logs).as_posix() for run in runs)
    if not found:
        raise UsageError(f"--docs {item}: no run in {logs} matches")
    yield from found


def items(flag: str, text: str | None, read: Callable[[str], T]) -> tuple[T, ...]:
    """The items of a list with commas, each once."""
    if text is None:
        return ()
    try:
        found = [read(item.strip()) for item in text.strip("[] ").split(",") if item.strip()]
    except ValueError as err:
        raise UsageError(f"{flag} {text}: {err}") from err
    if not found:
        raise UsageError(f"{flag} {text!r}: an empty list")
    return tuple(dict.fromkeys(found))


def whole(least: int) -> Callable[[str], int]:
    """A reader of whole numbers of at least `least`; it raises ValueError for anything else."""

    def read(text: str) -> int:
        if not re.fullmatch(r"\d{1,18}", text) or int(text) < least:
            raise ValueError(f"{text!r} should be a whole number, at least {least}")
        return int(text)

    return read


def _shard(text: str | None) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text or "0/1")
    if not match or int(match[1]) >= int(match[2]):
        raise UsageError(f"--shard {text}: should be I/N with I from 0 to N-1, as in 0/4")
    return int(match[1]), int(match[2])
