"""Weights averaged over any length of a training, from the snapshots that it stored."""

from __future__ import annotations

import logging
from pathlib import Path

from configs.schema import ConfigError
from models import checkpoint, snapshots
from runners.model.weights import Weights

log = logging.getLogger("skip_step")


def of_length(run: Path, ckpt_id: int | None, length: float) -> Weights:
    """The average of this length at a run's newest snapshot, or at the one of step `ckpt_id`.

    Raises ConfigError for a run that stores none, a step without one, and a length out of reach.
    """
    kept = snapshots.steps(run)
    if not kept:
        raise ConfigError(
            f"--ema_length {length:g}: {run} holds no snapshots ema_STEP.pth; they are stored by a "
            "training with model.ema_powers, such as [0.05, 0.1]"
        )
    if ckpt_id is not None and ckpt_id not in kept:
        near = min(kept, key=lambda step: abs(step - ckpt_id))
        text = f"no {snapshots.path_of(run, ckpt_id)}; the nearest snapshot is that of step {near}"
        raise ConfigError(f"sampling.ckpt_id {ckpt_id}: {text}")
    step = ckpt_id or kept[-1]
    try:
        state, file = snapshots.reconstruct(run, step, length, log.info)
    except checkpoint.CheckpointError:
        raise
    except ValueError as err:
        raise ConfigError(f"--ema_length {err}") from err
    source, rest = str(snapshots.path_of(run, step)), (step, file["config"], file["data"])
    return Weights(state, "ours", source, f"ema length {length:g}", *rest)
