"""Noise by image index."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from runners.machine.seeds import mixed_seed

Randn = Callable[[Tensor], Tensor]  # draws standard normal noise shaped like its argument


class Noise:
    """Generator of noise, one stream for each image: a call draws N(0, 1) shaped like its argument.

    The numbers come from the CPU whatever the device, so that they are the same everywhere.
    """

    def __init__(self, seed: int, indices: Sequence[int]) -> None:
        seeds = [mixed_seed(seed, index) for index in indices]
        self.generators = [torch.Generator().manual_seed(s) for s in seeds]

    def __call__(self, x: Tensor) -> Tensor:
        rows = [torch.randn(x.shape[1:], generator=g, dtype=torch.float32) for g in self.generators]
        return torch.stack(rows).to(x)
