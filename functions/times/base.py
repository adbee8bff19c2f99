"""The density of training times."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from functions.process import Process


class TimeSampler(ABC):
    """Draws training times for a process: integers on a discrete one, real numbers otherwise."""

    def __init__(self, process: Process) -> None:
        self.process = process

    @abstractmethod
    def sample(self, n: int, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Times (n,) and loss weights (n,) on the CPU; None draws from the global generator."""

    def update(self, t: Tensor, loss: Tensor) -> None:
        """Learn from per-sample losses (B,) seen at times t (B,); most densities do not."""

    def _draw(self, n: int, generator: torch.Generator | None) -> Tensor:
        low, high = self.process.t_train
        if self.process.steps is not None:
            return torch.randint(int(low), int(high) + 1, (n,), generator=generator)
        return low + (high - low) * torch.rand(n, generator=generator)
