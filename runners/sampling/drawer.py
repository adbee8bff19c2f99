"""Sampling by image index: image i is a function of (weights, plan, seed, i) and of nothing else.

It depends neither on the batch it was drawn in, nor on the number of processes, nor on an
interruption.
"""

from __future__ import annotations

import copy
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from configs.schema import Config
from functions import adaptive
from functions.adaptive import Adaptive
from functions.denoiser import Denoiser, Scaled
from functions.guidance import Guided, rows_asked
from functions.plan import Plan, solve
from runners.machine.precision import autocast
from runners.machine.processes import Ranks
from runners.model.classes import labels_of
from runners.model.load import Model
from runners.sampling.noise import Noise, Randn
from runners.sampling.walk import Walk, scale_for


@dataclass
class Drawer:
    """Sampler of images by index: denoiser, plan, seed and precision decide them. shape: (C, H, W).
    classes: image i is of class i mod n of these n; empty for a network without classes.

    On a CPU an image is rounded differently in batches of different sizes, because other kernels
    are chosen. There images are therefore always drawn in the same blocks of `block` consecutive
    indices, whatever was asked for.

    Counts as it draws: images, rows that the network answered, seconds.
    """

    denoiser: Denoiser
    plan: Plan | Adaptive
    shape: tuple[int, int, int]
    seed: int
    device: torch.device
    precision: str = "fp32"
    classes: Sequence[int] = ()
    label: Tensor | None = field(default=None, init=False)
    images: int = field(default=0, init=False)
    rows: int = field(default=0, init=False)
    seconds: float = field(default=0.0, init=False)

    @property
    def block(self) -> int:
        """Images drawn together: as many as have 4096 pixels on a CPU, 1 elsewhere."""
        pixels = self.shape[1] * self.shape[2]
        return max(1, min(64, 4096 // pixels)) if self.device.type == "cpu" else 1

    def __call__(self, indices: Sequence[int]) -> Tensor:
        """Draw the samples of these indices as data, float32 (n, C, H, W), not clamped."""
        size = self.block
        if self.device.type != "cpu":
            return self._together(indices)
        parts = {b: self._together(range(b * size, (b + 1) * size)) for b in _blocks(indices, size)}
        return torch.stack([parts[i // size][i % size] for i in indices])

    def counted(self, ranks: Ranks) -> tuple[float, float, float]:
        """Sum up over all processes: evaluations an image, seconds an image of all together,
        seconds of the slowest process. Zeros where nothing was drawn.
        """
        own = torch.zeros(ranks.world, 3, dtype=torch.float64)
        own[ranks.rank] = torch.tensor([self.images, self.rows, self.seconds], dtype=torch.float64)
        images, rows, seconds = ranks.sum(own).cpu().unbind(1)
        count, slowest = max(float(images.sum()), 1.0), float(seconds.max())
        return float(rows.sum()) / count, slowest / count, slowest

    @torch.no_grad()
    def _together(self, indices: Sequence[int]) -> Tensor:
        began = time.perf_counter()
        noise = Noise(self.seed, indices)
        own = self.labelled(indices)
        sample = own.sample(self.start(noise, len(indices)), noise)
        self.rows = own.rows
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        self.images += len(indices)
        self.seconds += time.perf_counter() - began
        return sample

    def labelled(self, indices: Sequence[int]) -> Drawer:
        """This drawer for states of these images only, with their labels."""
        if not self.classes:
            return self
        own, label = copy.copy(self), labels_of(self.classes, indices).to(self.device)
        own.denoiser, own.label = self.denoiser.given(label), label
        return own

    def start(self, randn: Randn, count: int) -> Tensor:
        """Draw the states (count, ...) where sampling starts."""
        return self.denoiser.process.prior((count, *self.shape), randn).to(self.device)

    def states(
        self, x: Tensor, randn: Randn, project: Callable[[Tensor, float], Tensor] | None = None
    ) -> Iterator[Tensor]:
        """Walk from the state x and yield the state after every step. The caller switches gradients
        off. project: see `functions.plan.solve`. With classes: of a `labelled` drawer.
        """
        if isinstance(self.plan, Plan):
            clip = self.denoiser.clip
            move = self.denoiser.moved if clip is not None and clip.keep_eps else None
            return solve(self.plan, self._predict, x, randn, project, move)
        return adaptive.solve(self.plan, self._predict, x, project=project, label=self.label)

    def sample(
        self, x: Tensor, randn: Randn, project: Callable[[Tensor, float], Tensor] | None = None
    ) -> Tensor:
        """Walk from the state x and return the data (n, C, H, W) at the end; see `states`."""
        return self.denoiser.process.drop(last_of(self.states(x, randn, project)))

    def x0(self, x: Tensor, t: Tensor | float, label: Tensor | None = None) -> Tensor:
        """Clean states expected behind x at t, computed in the walk's precision."""
        with autocast(self.precision, self.device):
            return self.denoiser.x0(x, t, label).to(x.dtype)

    def _predict(self, x: Tensor, t: Tensor | float, label: Tensor | None = None) -> Any:
        """Answer in the plan's basis. label: of these rows, where they are not all rows."""
        self.rows += len(x) * rows_asked(self.denoiser, t)
        if isinstance(self.plan, Plan) and self.plan.learned:
            with autocast(self.precision, self.device):
                clean, v = self.denoiser.posterior(x, t, label)
            assert v is not None  # the config was checked
            return clean.to(x.dtype), (v.to(x.dtype) + 1) / 2
        with autocast(self.precision, self.device):
            return self.denoiser.answer(self.plan.basis, x, t, label).to(x.dtype)


def drawer_for(model: Model, config: Config, walk: Walk, device: torch.device) -> Drawer:
    """The drawer of the config's images along this walk: their classes and guidance, the clipping
    and the eps scale.
    """
    denoiser, data = model.denoiser(config.sampler().clip), config.data
    if asked := config.guidance():
        levels = asked.low, asked.high
        others = config.no_class, model.guide
        denoiser = Guided(denoiser, asked.weight, *levels, *others, asked.rescale)
    if scale := scale_for(config, model.process):
        denoiser = Scaled(denoiser, scale)
    shape = (data.channels, data.image_size, data.image_size)
    how = config.sampling.precision, config.classes()
    return Drawer(denoiser, walk.plan, shape, config.seed, device, *how)


def last_of(states: Iterator[Tensor]) -> Tensor:
    """Return the last state and keep none before it."""
    return deque(states, maxlen=1).pop()


def _blocks(indices: Sequence[int], size: int) -> list[int]:
    return sorted({i // size for i in indices})
