"""The folder of a run: found, asked about, and resumed only by the config that began it."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

from configs.schema import Config, ConfigError

log = logging.getLogger("skip_step")

LENGTH = ("n_iters", "n_epochs", "n_images")
# Keys that may differ between a run and its resumption: they do not change what is learned.
FREE_TO_CHANGE = {
    "data": {"path", "test_path", "num_workers", "in_memory", "download"},
    "training": {
        *LENGTH,
        *("snapshot_freq", "validation_freq", "log_freq", "sample_freq", "keep_last"),
        *("milestone_freq", "ema_snapshot_freq", "micro_batch", "compile"),
    },
    "sampling": None,
    "evaluation": None,
    "comment": None,
    "imports": None,  # of one that has changed, a warning tells
}


def ask(folder: Path) -> str:
    """Ask at the terminal what to do with an existing run: "resume", "overwrite" or "quit"."""
    sys.stderr.write(f"{folder} exists. [r]esume it, move it aside and start [o]ver, or [q]uit? ")
    sys.stderr.flush()
    answer = sys.stdin.readline().strip().lower()
    return {"r": "resume", "o": "overwrite"}.get(answer[:1], "quit")


def may_ask(ni: bool) -> bool:
    """Whether a question may be asked: without --ni, at a terminal, in a single process."""
    return not ni and sys.stdin is not None and sys.stdin.isatty() and "RANK" not in os.environ


def check_same_run(begun: Config, config: Config, run: Path) -> None:
    """Compare the config that a run was begun with to the one that would resume it.

    Raises ConfigError that names every key that changes what is learned, with both values. The
    length of a training does where the learning rate is annealed to its end.
    """
    anneal = config.anneal()
    bound = set(LENGTH) if anneal is not None and anneal.part.facts.to_the_end else set()
    saved, given = begun.model_dump(mode="json"), config.model_dump(mode="json")
    differing = []
    for section, value in given.items():
        free = FREE_TO_CHANGE.get(section, set())
        if free is None:
            continue
        old = saved.get(section)
        if not isinstance(value, dict) or not isinstance(old, dict):
            if value != old:
                differing.append(f"{section} was {old}, now {value}")
            continue
        for key in sorted((value.keys() | old.keys()) - (free - bound)):
            if value.get(key) != old.get(key):
                differing.append(f"{section}.{key} was {old.get(key)}, now {value.get(key)}")
    if differing:
        raise ConfigError(
            f"--resume_training: {run} was started with other settings ({'; '.join(differing)}); "
            "give the same ones, or start another --doc"
        )
