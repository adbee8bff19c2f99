"""Sampling by image index: image i is a function of (weights, plan, seed, i) and of nothing else.

Not of the batch it was drawn in, the number of processes, or an interruption.
"""

from __future__ import annotations

import logging
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from configs.schema import Config
from datasets.transforms import to_uint8
from functions import adaptive
from functions.adaptive import Adaptive
from functions.denoiser import Denoiser
from functions.plan import Plan, solve
from runners.machine.processes import Ranks
from runners.machine.signals import STOPPED, StopRequest
from runners.record import image_folder
from runners.train.trainer import autocast, mixed_seed

log = logging.getLogger("skip_step")


Randn = Callable[[Tensor], Tensor]  # draws standard normal noise shaped like its argument


class Noise:
    """One generator per image: calling it draws standard normal noise shaped like its argument.

    The numbers come from the CPU whatever the device, so that they are the same everywhere.
    """

    def __init__(self, seed: int, indices: Sequence[int]) -> None:
        seeds = [mixed_seed(seed, index) for index in indices]
        self.generators = [torch.Generator().manual_seed(s) for s in seeds]

    def __call__(self, x: Tensor) -> Tensor:
        rows = [torch.randn(x.shape[1:], generator=g, dtype=torch.float32) for g in self.generators]
        return torch.stack(rows).to(x)


@dataclass
class Drawer:
    """Everything that decides what image i looks like. shape: (C, H, W) of an image.

    On a CPU the same image in batches of different sizes is rounded differently, because other
    kernels are chosen. So there images are always drawn in the same blocks of `block` consecutive
    indices, whatever was asked for.

    It counts as it draws: images, the rows it asked the network about, seconds.
    """

    denoiser: Denoiser
    plan: Plan | Adaptive
    shape: tuple[int, int, int]
    seed: int
    device: torch.device
    precision: str = "fp32"
    images: int = field(default=0, init=False)
    rows: int = field(default=0, init=False)
    seconds: float = field(default=0.0, init=False)

    @property
    def block(self) -> int:
        """Images drawn together: about 4096 pixels of them on a CPU, 1 (no matter) elsewhere."""
        pixels = self.shape[1] * self.shape[2]
        return max(1, min(64, 4096 // pixels)) if self.device.type == "cpu" else 1

    def __call__(self, indices: Sequence[int]) -> Tensor:
        """The samples of these image indices as data, float32 (n, C, H, W), not clamped."""
        size = self.block
        if self.device.type != "cpu":
            return self._together(indices)
        parts = {b: self._together(range(b * size, (b + 1) * size)) for b in _blocks(indices, size)}
        return torch.stack([parts[i // size][i % size] for i in indices])

    def counted(self, ranks: Ranks) -> tuple[float, float, float]:
        """Over all processes: evaluations an image, seconds an image (all together), seconds of the
        slowest. Zeros where nothing was drawn.
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
        sample = self.sample(self.start(noise, len(indices)), noise)
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        self.images += len(indices)
        self.seconds += time.perf_counter() - began
        return sample

    def start(self, randn: Randn, count: int) -> Tensor:
        """The states (count, ...) where sampling starts."""
        return self.denoiser.process.prior((count, *self.shape), randn).to(self.device)

    def states(
        self, x: Tensor, randn: Randn, project: Callable[[Tensor, float], Tensor] | None = None
    ) -> Iterator[Tensor]:
        """The states after every step of the walk from x, the sample's last; gradients belong to
        the caller. project: see `functions.plan.solve`.
        """
        if isinstance(self.plan, Plan):
            return solve(self.plan, self._predict, x, randn, project)
        return adaptive.solve(self.plan, self._predict, x, project=project)

    def sample(
        self, x: Tensor, randn: Randn, project: Callable[[Tensor, float], Tensor] | None = None
    ) -> Tensor:
        """The data (n, C, H, W) at the end of the walk from x; see `states`."""
        return self.denoiser.process.drop(last_of(self.states(x, randn, project)))

    def x0(self, x: Tensor, t: Tensor | float) -> Tensor:
        """The clean states expected behind x at t, in the precision of the walk."""
        with autocast(self.precision, self.device):
            return self.denoiser.x0(x, t).to(x.dtype)

    def _predict(self, x: Tensor, t: Tensor | float) -> Tensor:
        self.rows += len(x)
        if self.plan.basis == "x0":
            return self.x0(x, t)
        with autocast(self.precision, self.device):
            return self.denoiser.eps(x, t).to(x.dtype)


def last_of(states: Iterator[Tensor]) -> Tensor:
    """The last of some states; none before it is kept."""
    return deque(states, maxlen=1).pop()


def _blocks(indices: Sequence[int], size: int) -> list[int]:
    return sorted({i // size for i in indices})


def blocks(indices: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    """Consecutive runs of at most `size` indices."""
    for begin in range(0, len(indices), size):
        yield indices[begin : begin + size]


def share(config: Config, drawer: Drawer, ranks: Ranks) -> list[int]:
    """This process' part of the images 0..n_samples-1: whole blocks."""
    count = config.sampling.n_samples
    return [i for i in range(count) if i // drawer.block % ranks.world == ranks.rank]


def drawn(
    drawer: Drawer, config: Config, indices: Sequence[int]
) -> Iterator[tuple[Sequence[int], Tensor]]:
    """These images batch by batch: their indices and uint8 (n, C, H, W).

    Raises RuntimeError for images that are not finite.
    """
    size = max(config.sampling.batch_size // drawer.block, 1) * drawer.block
    for part in blocks(indices, size):
        yield part, to_uint8(finite(drawer(part), part), config.data)


def whole_blocks(
    drawer: Drawer, config: Config, count: int
) -> Iterator[tuple[Sequence[int], Sequence[int]]]:
    """Indices 0..count-1 part by part, and those that are to be drawn together with them: on a CPU
    whole blocks, beyond `count` if need be, as plain samples are drawn, so that an image is the
    same to the last bit.
    """
    on_cpu = drawer.device.type == "cpu"
    size = drawer.block if on_cpu else config.sampling.batch_size
    for part in blocks(range(count), size):
        yield part, range(part[0], part[0] + size) if on_cpu else part


def in_blocks(
    drawer: Drawer, config: Config, count: int, draw: Callable[[Sequence[int]], Tensor]
) -> Tensor:
    """The images of indices 0..count-1, uint8 (count, C, H, W); draw(indices) gives data, of
    `whole_blocks`. Raises RuntimeError for images that are not finite.
    """
    parts = []
    for part, together in whole_blocks(drawer, config, count):
        with torch.no_grad():
            images = draw(together)[: len(part)]
        parts.append(to_uint8(finite(images, part), config.data).cpu())
    return torch.cat(parts)


def sample_all(
    drawer: Drawer,
    config: Config,
    folder: Path | None,
    ranks: Ranks,
    stop: StopRequest,
    use: Callable[[Sequence[int], Tensor], None] | None,
) -> float:
    """Draw this process' share of images 0..n_samples-1, write them to `folder` (None: nowhere)
    and hand every batch, uint8 (n, C, H, W), to `use`. Images in the folder are read, not drawn.

    Returns the images drawn per second by this process, 0 where all were there already. Exits with
    STOPPED on request. Raises RuntimeError for images that are not finite.
    """
    mine = share(config, drawer, ranks)
    held = image_folder.existing(folder, config.sampling.n_samples) if folder else set()
    ranks.barrier()  # nobody writes before everybody has looked
    todo = [i for i in mine if i not in held]
    writer = image_folder.Writer(folder) if folder else None
    bar = tqdm(
        total=len(mine), unit="img", disable=not (ranks.first and sys.stderr.isatty()), leave=False
    )
    began = time.perf_counter()
    try:
        for part, images in drawn(drawer, config, todo):
            if writer:
                writer.add(part, images)
            if use:
                use(part, images)
            bar.update(len(part))
            _leave_on(stop, writer)
        if writer:
            writer.flush()
        rate = len(todo) / max(time.perf_counter() - began, 1e-9)
        for part in blocks([i for i in mine if i in held and use], config.sampling.batch_size):
            assert folder is not None and use is not None
            use(part, image_folder.read_back(folder, part, drawer.shape))
            bar.update(len(part))
            _leave_on(stop, writer)
    finally:
        bar.close()
        if writer:
            writer.close()
    return rate


def finite(images: Tensor, indices: Sequence[int]) -> Tensor:
    """The images (n, ...) themselves. Raises RuntimeError that names the first of these indices
    whose image is not finite.
    """
    fine = images.isfinite().flatten(1).all(1).tolist()
    if not all(fine):
        raise RuntimeError(
            f"image {indices[fine.index(False)]} is not finite: the weights are damaged, or "
            "sampling.precision is too coarse for them (fp32 is safe)"
        )
    return images


def _leave_on(stop: StopRequest, writer: image_folder.Writer | None) -> None:
    if not stop:
        return
    if writer:
        writer.flush()
    kept = "the same command goes on from here" if writer else "nothing is kept with --no_images"
    log.warning("%s: stopped; %s", stop.name, kept)
    raise SystemExit(STOPPED)
