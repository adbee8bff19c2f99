"""Mode-weighted times."""

from __future__ import annotations

import math
from typing import Annotated

import torch
from annotated_types import Ge, Le
from torch import Tensor

from configs.parts import require
from functions.parts import TIMES
from functions.process import Process
from functions.times.base import TimeSampler

HALVINGS = 60  # of the bisection that inverts the map, to rounding


@TIMES.part("mode", title="mode-weighted times: no end left out", paper="2403.03206")
class Mode(TimeSampler):
    """f(u) = 1 - u - scale (cos^2(pi u/2) - 1 + u), u uniform (2403.03206, section 3.1), importance
    weights 1.

    f is a share of the training interval, as in `logit_normal`; unlike there, the density is above
    0 at both ends.

    scale: above 0 favours the middle times, 0 is uniform, below 0 favours the ends. f falls with u
    for scale from -1 to 2/(pi - 2). Raises ValueError for a scale out of range.
    """

    def __init__(
        self,
        process: Process,
        scale: Annotated[float, Ge(-1), Le(2 / (math.pi - 2))] = 1.29,
    ) -> None:
        require(Mode, scale=scale)
        super().__init__(process)
        self.scale = scale

    def sample(self, n: int, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        u = torch.rand(n, generator=generator, dtype=torch.float64)
        return self._placed(self._share(u)), torch.ones(n)

    def density(self) -> tuple[Tensor, Tensor]:
        edges = torch.linspace(0, 1, self.count + 1, dtype=torch.float64)
        low, high = torch.zeros_like(edges), torch.ones_like(edges)
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            above = self._share(middle) > edges
            low, high = torch.where(above, middle, low), torch.where(above, high, middle)
        return self._times(), (1 - high).diff()

    def _share(self, u: Tensor) -> Tensor:
        """f(u), which falls from 1 to 0."""
        return 1 - u - self.scale * (torch.cos(math.pi / 2 * u) ** 2 - 1 + u)
