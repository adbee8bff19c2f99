"""Flags of --sweep and --report: lists read from text."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from typing import Any, TypeVar

from configs import values
from configs.command import picture_flags
from configs.command.options import AXES
from configs.command.usage import UsageError

T = TypeVar("T")
Overrides = list[tuple[str, str, str]]

STEPS = "sampling.timesteps"
# One value of these would hold for a single sampler; a sweep has many, each with its own options.
SINGLE = [f"sampling.{key}" for key in ("sample_type", "order", "variable", "variance", "eta")]


def read(flags: argparse.Namespace) -> tuple[dict[str, Any], Overrides]:
    """Fields of Options, and the overrides that are left for the config.

    Raises UsageError with one line.
    """
    _check(flags)
    overrides: Overrides = list(flags.overrides)
    docs = items("--docs", flags.docs, str)
    docs = tuple(dict.fromkeys((*([flags.doc] if flags.doc else []), *docs)))
    names = items("--name", flags.name, str) or docs[:1]
    found: dict[str, Any] = {
        "docs": docs,
        "names": names,
        "samplers": items("--samplers", flags.samplers, str),
    }
    if not flags.sweep:
        return (found if flags.report else {}), overrides
    if len(names) > 1:
        raise UsageError(f"--name {flags.name}: a sweep has one name")
    if docs:
        found["doc"] = docs[0]
    found["seeds"] = items("--seeds", flags.seeds, whole(0))
    found["shard"] = _shard(flags.shard)
    texts = [text for key, text, _ in overrides if key == STEPS]
    found["steps"] = items("--timesteps", texts[-1] if texts else None, whole(1))
    return found, [item for item in overrides if item[0] != STEPS]


def _check(flags: argparse.Namespace) -> None:
    for flag in ("samplers", "docs", "shard"):
        if getattr(flags, flag) is not None and not flags.sweep:
            raise UsageError(f"--{flag} needs --sweep")
    modes = picture_flags.owners().get("seeds", [])
    if flags.seeds is not None and not (flags.sweep or any(getattr(flags, m) for m in modes)):
        needs = values.either([f"--{name}" for name in ("sweep", *modes)])
        raise UsageError(f"--seeds needs {needs}")
    if flags.name is not None and not (flags.sweep or flags.report):
        raise UsageError("--name needs --sweep or --report")
    if flags.axis is not None and not (flags.sweep or flags.report):
        raise UsageError("--axis needs --sweep or --report")
    if flags.axis not in (None, *AXES):
        raise UsageError(f"--axis {flags.axis}: should be {values.either(AXES)}")
    if not flags.sweep:
        return
    for key, _, flag in flags.overrides:
        if key in SINGLE:
            text = "give each sampler its options, as in --samplers ddim:0.5,deis:2:rho"
            raise UsageError(f"{flag} does not go with --sweep; {text}")
        if key == "sampling.nfe":
            raise UsageError(f"{flag} does not go with --sweep; name step counts by --timesteps")
        if key == "seed" and flags.seeds is not None:
            raise UsageError("--seed and --seeds exclude each other")


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
