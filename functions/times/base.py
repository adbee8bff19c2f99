"""Base class of the densities of training times."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from functions.process import Process


class TimeSampler(ABC):
    """Source of training times: integers on a discrete process, real numbers otherwise."""

    def __init__(self, process: Process) -> None:
        self.process = process

    @abstractmethod
    def sample(self, n: int, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Draw times (n,) and give their loss weights (n,), on the CPU. generator: None for the
        global one.
        """

    def update(self, t: Tensor, loss: Tensor) -> None:
        """Learn from per-sample losses (B,) at times t (B,); most densities do not."""

    def density(self) -> tuple[Tensor, Tensor] | None:
        """Times (n,) and their probabilities (n,), float64; None where nobody knows them.

        The times are all of a discrete process, or the middles of equal cells of a continuous one.
        """
        return None

    def _draw(self, n: int, generator: torch.Generator | None) -> Tensor:
        """Draw n independent uniform times."""
        low, high = self.process.t_train
        if self.process.steps is not None:
            return torch.randint(int(low), int(high) + 1, (n,), generator=generator)
        return low + (high - low) * torch.rand(n, generator=generator)
