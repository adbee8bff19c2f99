"""Paired timing: the tasks of a round run one after the other, so drift hits all of them alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence

import torch

Task = Callable[[], object]


def interleave(
    tasks: Mapping[str, Task], rounds: int, device: torch.device, warm: int = 1
) -> dict[str, list[float]]:
    """Seconds of each task, `rounds` times in the order A B ... A B ..., each right after `warm`
    unmeasured calls of its own: what ran before, and the memory it gave back, would show in the
    first call of a task. On CUDA every measurement waits for the device before and after.
    """
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(rounds):
        for name, task in tasks.items():
            for _ in range(warm):
                task()
            _settle(device)
            began = time.perf_counter()
            task()
            _settle(device)
            seconds[name].append(time.perf_counter() - began)
    return seconds


def _settle(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def pair_ratio(ours: list[float], theirs: list[float]) -> dict[str, float]:
    """Median, least and largest of ours/theirs over the rounds."""
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    return {"median": statistics.median(ratios), "min": min(ratios), "max": max(ratios)}


def compared(
    seconds: dict[str, list[float]], against: Mapping[str, Sequence[str]], per: float = 1.0
) -> list[dict]:
    """A row per task: its median time divided by `per`, and its ratio to the task that `against`
    names for it, if that was measured; a further row for each further name.
    """
    rows = []
    for name, values in seconds.items():
        row = {"what": name, "seconds": statistics.median(values) / per}
        others = [other for other in against.get(name, ()) if other in seconds]
        ratios = [{"against": o, "ratio": pair_ratio(values, seconds[o])} for o in others]
        rows += [row | ratio for ratio in ratios or [{}]]
    return rows
