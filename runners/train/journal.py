"""The journal of a training run: TensorBoard, metrics.jsonl and a progress bar."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from runners.machine.processes import Ranks
from runners.record.files import write_text
from runners.train.trainer import Step

log = logging.getLogger("skip_step")


class Journal:
    """Scalars and sheets of one run, written by the first process."""

    def __init__(self, run: Path, board: Path, step: int, total: int, ranks: Ranks) -> None:
        self.ranks = ranks
        if not ranks.first:
            return
        from torch.utils.tensorboard import SummaryWriter

        forget(run / "metrics.jsonl", step)
        self.lines = (run / "metrics.jsonl").open("a", encoding="utf-8")
        self.board = SummaryWriter(str(board), purge_step=step + 1 if step else None)
        self.bar = tqdm(
            total=total, initial=step, unit="step", disable=not sys.stderr.isatty(), smoothing=0.05
        )

    def advance(self, step: Step) -> None:
        """Move the progress bar."""
        if self.ranks.first:
            self.bar.update(step.step - self.bar.n)

    def scalars(self, step: Step, values: dict[str, float]) -> None:
        """Write values to TensorBoard and, as one line, to metrics.jsonl."""
        if not self.ranks.first:
            return
        for name, value in values.items():
            self.board.add_scalar(name, value, step.step)
        self.line(step, values)
        if "loss" in values:
            self.board.add_scalar("images", step.images, step.step)
            self.board.add_scalar("seconds", step.seconds, step.step)
            self.bar.set_postfix_str(f"loss {values['loss']:.4f}", refresh=False)

    def line(self, step: Step, values: Mapping[str, Any]) -> None:
        """Write values as one line of metrics.jsonl, behind the step, the images seen by then, the
        seconds of training and the time of day.
        """
        if not self.ranks.first:
            return
        seen = {"step": step.step, "images": step.images, "seconds": round(step.seconds, 3)}
        line = json.dumps({**seen, "time": round(time.time(), 3), **values})
        self.lines.write(line + "\n")
        self.lines.flush()

    def picture(self, step: int, name: str, pixels: Tensor) -> None:
        """Write a uint8 image (C, H, W) to TensorBoard."""
        if self.ranks.first:
            self.board.add_image(name, pixels, step)

    def close(self) -> None:
        """Flush and close the bar, TensorBoard and metrics.jsonl."""
        if self.ranks.first:
            self.bar.close()
            self.board.close()
            self.lines.close()


def forget(path: Path, step: int) -> None:
    """Drop the lines of later steps, which a killed run left and a resumed one writes again."""
    if not path.exists():
        return
    whole = [line for line in path.read_text(encoding="utf-8").splitlines(True) if line[-1] == "\n"]
    kept = [line for line in whole if json.loads(line)["step"] <= step]
    text = "".join(kept)
    if len(text) != path.stat().st_size:
        log.warning("%s: dropped what came after step %d", path, step)
        write_text(path, text)


def memory(device: torch.device) -> dict[str, float]:
    """Peak memory in MiB: allocated on a CUDA device, resident on a CPU; {} if unknown."""
    if device.type == "cuda":
        return {"memory_mib": torch.cuda.max_memory_allocated(device) / 2**20}
    try:
        import resource
    except ModuleNotFoundError:  # Windows
        return {}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"memory_mib": peak / (2**20 if sys.platform == "darwin" else 2**10)}
