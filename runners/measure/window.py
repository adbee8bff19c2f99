"""Mean losses by quartile of the training times, and by finer bins of them."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import Tensor

from functions.process import Process
from runners.machine.processes import Ranks

BINS = 40  # equal parts of the training times, 10 in a quartile


class Window:
    """Sums of losses by bin, kept on the device: only `report` and `by_time` wait for it."""

    def __init__(self, process: Process, ranks: Ranks) -> None:
        self.process = process
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

    def by_time(
        self, density: tuple[Tensor, Tensor] | None, weight: Callable[[Tensor], Tensor]
    ) -> dict[str, list[float]]:
        """Sum of the losses ("loss") and their number ("count") by bin since the last call, over
        all processes; where the density of times is known, the probability of each bin ("density")
        and the mean weight of a loss in it ("weight").

        density: times (n,) and their probabilities (n,), on the CPU. weight: of losses at times.
        """
        total, count = self.ranks.sum(self.sums - self.told).cpu()
        self.told = self.sums.clone()
        values = {"loss": _short(total), "count": count.tolist()}
        if density is not None:
            times, chances = density
            here, even = self._bin(times), torch.ones_like(times, dtype=torch.float64)
            columns = torch.stack([chances.double(), weight(times).double(), even], 1)
            bins = torch.zeros(BINS, 3, dtype=torch.float64).index_add_(0, here, columns)
            values["density"] = _short(bins[:, 0])
            values["weight"] = _short(bins[:, 1] / bins[:, 2].clamp(min=1))
        return values

    def _bin(self, t: Tensor) -> Tensor:
        if self.process.steps is None:
            share = self.process.share_of(t.double())
        else:  # whole numbers, both ends included
            low, high = self.process.t_train
            share = (t.double() - low) / (high - low + 1)
        return (share * BINS).long().clamp(0, BINS - 1)


def _short(values: Tensor) -> list[float]:
    """Numbers of six digits, for a line that is written often."""
    return [float(f"{value:.6g}") for value in values.tolist()]
