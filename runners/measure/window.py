"""Mean losses by quartile of the training times."""

from __future__ import annotations

import time

import torch
from torch import Tensor

from functions.process import Process
from runners.machine.processes import Ranks


class Window:
    """Sums over the steps since the last report, kept on the device: only a report waits for it."""

    def __init__(self, process: Process, ranks: Ranks) -> None:
        self.low, high = process.t_train
        self.span = high - self.low + (1 if process.steps is not None else 0)
        self.ranks = ranks
        self.reset()

    def reset(self) -> None:
        """Begin a new window."""
        self.sums = torch.zeros(2, 4, dtype=torch.float64, device=self.ranks.device)
        self.began = time.perf_counter()

    def add(self, t: Tensor, loss: Tensor) -> None:
        """Add losses (b,) at times t (b,), each to the quartile of the training times of its t."""
        quartile = ((t.double() - self.low) / self.span * 4).long().clamp(0, 3)
        self.sums[0].index_add_(0, quartile, loss.double())
        self.sums[1].index_add_(0, quartile, torch.ones_like(loss, dtype=torch.float64))

    def report(self) -> dict[str, float]:
        """Mean loss, mean loss by quartile of t (where there is one), images a second, over all
        processes.
        """
        seconds = time.perf_counter() - self.began
        total, count = self.ranks.sum(self.sums).cpu()
        values = {"loss": float(total.sum() / count.sum())}
        values |= {
            f"loss/t_quartile_{i + 1}": float(total[i] / count[i]) for i in range(4) if count[i]
        }
        values["images_per_second"] = float(count.sum()) / max(seconds, 1e-9)
        return values
