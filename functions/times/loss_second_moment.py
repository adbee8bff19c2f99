"""Loss-aware times of improved DDPM."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from functions.parts import TIMES
from functions.process import Process
from functions.times.base import TimeSampler

HISTORY = 10  # losses that are kept of each time
UNIFORM = 1e-3  # share of uniform times, so that none is forgotten


@TIMES.part(
    "loss_second_moment", title="times by the second moment of their loss", paper="2102.09672"
)
class LossSecondMoment(TimeSampler):
    """Independent times with p_t proportional to sqrt(E[L_t^2]), importance weights 1/(T p_t)
    (2102.09672, section 3.3).

    E is the mean over the last 10 losses of each time (of each of CELLS equal cells on a continuous
    process); p is mixed with 0.001 of uniform times, and times are uniform until every one has 10
    losses.
    """

    learns = True

    def __init__(self, process: Process) -> None:
        super().__init__(process)
        self.losses = torch.zeros(self.count, HISTORY, dtype=torch.float64)  # the oldest one first
        self.seen = torch.zeros(self.count, dtype=torch.int64)

    @property
    def probabilities(self) -> Tensor:
        """Present probabilities (T,), float64."""
        moment = self.losses.square().mean(1).sqrt()
        if int(self.seen.min()) < HISTORY or not moment.any():
            return torch.full_like(moment, 1 / self.count)
        return (1 - UNIFORM) * moment / moment.sum() + UNIFORM / self.count

    def sample(self, n: int, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        chances = self.probabilities
        t = self._draw_from(chances, n, generator)
        return t, (1 / (self.count * chances[self._cell(t)])).float()

    def update(self, t: Tensor, loss: Tensor) -> None:
        for cell, value in zip(self._cell(t).tolist(), loss.tolist(), strict=True):
            self.losses[cell] = self.losses[cell].roll(-1)
            self.losses[cell, -1] = value
            self.seen[cell] = min(int(self.seen[cell]) + 1, HISTORY)

    def state(self) -> dict[str, Any]:
        return {"losses": self.losses, "seen": self.seen}

    def load(self, state: dict[str, Any]) -> None:
        self.losses.copy_(state["losses"])
        self.seen.copy_(state["seen"])

    def density(self) -> tuple[Tensor, Tensor]:
        return self._times(), self.probabilities

    def _cell(self, t: Tensor) -> Tensor:
        """Index of each time in the table."""
        if self.discrete:
            return t.long() - int(self.low)
        return (self.process.share_of(t.double()) * self.count).long().clamp(0, self.count - 1)
