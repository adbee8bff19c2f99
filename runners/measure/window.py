"""Mean losses by quartile of the training times, and by finer bins of them."""

from __future__ import annotations

import time

import torch
from torch import Tensor

from functions.process import Process
from runners.machine.processes import Ranks

BINS = 48  # equal parts of the training times, 12 in a quartile


class Window:
    """Sums of losses by bin, kept on the device: only `report` and `by_time` wait for it."""

    def __init__(self, process: Process, ranks: Ranks) -> None:
        self.low, high = process.t_train
        self.span = high - self.low + (1 if process.steps is not None else 0)
        self.ranks = ranks
        self.sums = torch.zeros(2, BINS, dtype=torch.float64, device=ranks.device)
        self.told = self.sums.clone()  # by the last `by_time`
        self.reset()

    def reset(self) -> None:
        """Begin a new window of `report`."""
        self.before = self.sums.clone()
        self.began = time.perf_counter()

    def add(self, t: Tensor, loss: Tensor) -> None:
        """Add losses (b,) at times t (b,), each to the bin of its t."""
        here = self._bin(t)
        self.sums[0].index_add_(0, here, loss.double())
        self.sums[1].index_add_(0, here, torch.ones_like(loss, dtype=torch.float64))

    def report(self) -> dict[str, float]:
        """Mean loss, mean loss by quartile of t (where there is one), images a second, over all
        processes.
        """
        seconds = time.perf_counter() - self.began
        total, count = self.ranks.sum(self.sums - self.before).view(2, 4, -1).sum(2).cpu()
        values = {"loss": float(total.sum() / count.sum())}
        values |= {
            f"loss/t_quartile_{i + 1}": float(total[i] / count[i]) for i in range(4) if count[i]
        }
        values["images_per_second"] = float(count.sum()) / max(seconds, 1e-9)
        return values

    def by_time(self, density: tuple[Tensor, Tensor] | None) -> dict[str, list[float]]:
        """Sum of the losses ("loss") and their number ("count") by bin since the last call, over
        all processes; "density": the probability of each bin, where it is known.

        density: times (n,) and their probabilities (n,), on the CPU.
        """
        total, count = self.ranks.sum(self.sums - self.told).tolist()
        self.told = self.sums.clone()
        values = {"loss": [float(f"{one:.6g}") for one in total], "count": count}
        if density is not None:
            times, chances = density
            bins = torch.zeros(BINS, dtype=torch.float64)
            bins.index_add_(0, self._bin(times), chances.double())
            values["density"] = [float(f"{one:.6g}") for one in bins.tolist()]
        return values

    def _bin(self, t: Tensor) -> Tensor:
        return ((t.double() - self.low) / self.span * BINS).long().clamp(0, BINS - 1)
