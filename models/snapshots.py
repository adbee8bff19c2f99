"""Snapshots of power-function averages: files ema_STEP.pth, from which others are made.

A snapshot is written and verified as a checkpoint is, and nothing deletes one: each is needed for
the lengths that nobody has asked for yet. It holds the averages, and what of the network is not
averaged, in 32 bits: (lengths x parameters x 4) bytes.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from models import checkpoint
from models.power_ema import FARTHEST, PowerEMA, fit, reach

_NAME = re.compile(r"ema_(\d+)\.pth")


def path_of(folder: str | os.PathLike, step: int) -> Path:
    """Name the snapshot file of a step."""
    return Path(folder) / f"ema_{step}.pth"


def steps(folder: str | os.PathLike) -> list[int]:
    """List the steps that have a snapshot in `folder`, ascending."""
    names = [entry.name for entry in Path(folder).iterdir()]
    return sorted(int(m[1]) for m in map(_NAME.fullmatch, names) if m)


def save(
    folder: str | os.PathLike, averages: PowerEMA, network: nn.Module, more: dict[str, Any]
) -> None:
    """Write the snapshot of this step, with `more` plain values. Raises OSError as a checkpoint."""
    kept = averages.state_dict()
    parameters = averages.weights().keys()
    rest = {name: v for name, v in network.state_dict().items() if name not in parameters}
    checkpoint.save(path_of(folder, averages.updates), {**kept, "rest": rest, **more})


def reconstruct(
    folder: str | os.PathLike, step: int, length: float, say: Callable[[str], None]
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Make the average of this length at `step`, which has a snapshot, from all snapshots up to it.
    Returns the weights of the whole network and the snapshot of the step.

    say: called with a line about the fit. Raises ValueError for a length that is out of reach, and
    CheckpointError for a damaged file.
    """
    kept = {
        at: checkpoint.peek(path_of(folder, at), "lengths") for at in steps(folder) if at <= step
    }
    stored = [(at, one) for at, lengths in kept.items() for one in lengths]
    factors, errors = fit(stored, step, [length])
    if errors[0] > FARTHEST:
        low, high = reach(stored, step)
        raise ValueError(
            f"{length:g} is out of reach: the snapshots of {folder} up to step {step}, {len(kept)} "
            f"in number, make lengths from {low:.3g} to {high:.3g}"
        )
    say(f"ema length {length:g}: made of {len(kept)} snapshots, its profile off by {errors[0]:.1%}")
    factor = dict(zip(stored, factors[:, 0].tolist(), strict=True))
    total: dict[str, Tensor] = {}
    for at in kept:
        last = checkpoint.load(path_of(folder, at))
        for one, average in zip(last["lengths"], last["averages"], strict=True):
            for name, value in average.items():
                part = value.double() * factor[at, one]
                total[name] = total[name] + part if name in total else part
    weights = {name: value.to(last["averages"][0][name].dtype) for name, value in total.items()}
    return {**last["rest"], **weights}, last
