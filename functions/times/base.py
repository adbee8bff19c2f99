"""Base class of the densities of training times."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor

from functions.process import Process

CELLS = 1000  # equal parts of a continuous training interval, where a density is a table


class TimeSampler(ABC):
    """Source of training times: integers on a discrete process, real numbers otherwise.

    learns: whether the density follows the losses; the trainer then calls `update` after each step
    and keeps `state` in its checkpoints.
    """

    learns: ClassVar[bool] = False

    def __init__(self, process: Process) -> None:
        self.process = process
        self.low, self.high = process.t_train
        self.discrete = process.steps is not None
        self.count = int(self.high) - int(self.low) + 1 if self.discrete else CELLS

    @abstractmethod
    def sample(self, n: int, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Draw times (n,) and give their importance weights (n,), on the CPU. generator: None for
        the global one.
        """

    def update(self, t: Tensor, loss: Tensor) -> None:
        """Learn from per-sample losses (B,) at times t (B,), on the CPU and of all processes."""

    def state(self) -> dict[str, Any]:
        """Everything that was learned, as tensors and plain values; {} where nothing is."""
        return {}

    def load(self, state: dict[str, Any]) -> None:
        """Set what `state` returned."""

    def density(self) -> tuple[Tensor, Tensor] | None:
        """Times (n,) and their probabilities (n,), float64; None where nobody knows them.

        The times are all of a discrete process, or the middles of equal cells of a continuous one.
        """
        return None

    def _times(self) -> Tensor:
        """The times of `density`."""
        if self.discrete:
            return self.low + torch.arange(self.count, dtype=torch.float64)
        middles = (torch.arange(self.count, dtype=torch.float64) + 0.5) / self.count
        return self.process.time_at(middles)

    def _draw(self, n: int, generator: torch.Generator | None) -> Tensor:
        """Draw n independent uniform times."""
        low, high = self.low, self.high
        if self.discrete:
            return torch.randint(int(low), int(high) + 1, (n,), generator=generator)
        return self.process.time_at(torch.rand(n, generator=generator))

    def _draw_from(self, chances: Tensor, n: int, generator: torch.Generator | None) -> Tensor:
        """Draw n independent times by the inverse of a table of probabilities (`count`,): evenly
        inside a cell of a continuous process.
        """
        cdf = torch.cat([torch.zeros(1).double(), chances.double().cumsum(0)])
        u = cdf[-1] * torch.rand(n, generator=generator, dtype=torch.float64)
        cell = (torch.searchsorted(cdf, u, right=True) - 1).clamp(0, self.count - 1)
        if self.discrete:
            return int(self.low) + cell
        return self._placed((cell + (u - cdf[cell]) / (cdf[cell + 1] - cdf[cell])) / self.count)

    def _placed(self, share: Tensor) -> Tensor:
        """Times (n,) at shares (n,) of the training interval, 0 its cleanest time."""
        if self.discrete:
            return int(self.low) + (share * self.count).long().clamp(0, self.count - 1)
        return self._real(self.process.time_at(share))

    def _real(self, t: Tensor) -> Tensor:
        """Continuous times in the dtype of those that `_draw` draws."""
        return t.to(torch.get_default_dtype())
