"""Sampling by image index: image i is a function of (weights, plan, seed, i) and of nothing else.

Not of the batch it was drawn in, the number of processes, or an interruption.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from configs.schema import Config
from datasets.transforms import to_uint8
from functions.denoiser import Denoiser
from functions.grids import GRIDS
from functions.plan import Plan, solve
from functions.process import Process
from functions.samplers import SAMPLERS
from runners import imagedir
from runners.distributed import Ranks
from runners.signals import STOPPED, StopRequest
from runners.trainer import autocast, mixed_seed

log = logging.getLogger("skip_step")


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


@dataclass(frozen=True)
class Drawer:
    """Everything that decides what image i looks like. shape: (C, H, W) of an image.

    On a CPU the same image in batches of different sizes is rounded differently, because other
    kernels are chosen. So there images are always drawn in the same blocks of `block` consecutive
    indices, whatever was asked for.
    """

    denoiser: Denoiser
    plan: Plan
    shape: tuple[int, int, int]
    seed: int
    device: torch.device
    precision: str = "fp32"

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
        drawn = {b: self._together(range(b * size, (b + 1) * size)) for b in _blocks(indices, size)}
        return torch.stack([drawn[i // size][i % size] for i in indices])

    @torch.no_grad()
    def _together(self, indices: Sequence[int]) -> Tensor:
        noise = Noise(self.seed, indices)
        process = self.denoiser.process
        x = process.prior((len(indices), *self.shape), noise).to(self.device)
        for state in solve(self.plan, self._predict, x, noise):
            x = state
        return process.drop(x)

    def _predict(self, x: Tensor, t: float) -> Tensor:
        ask = self.denoiser.eps if self.plan.basis == "eps" else self.denoiser.x0
        with autocast(self.precision, self.device):
            return ask(x, t).to(x.dtype)


def steps_of(config: Config, process: Process) -> int:
    """Sampling steps: what the config says, or every time of the process."""
    return config.sampling.timesteps or process.steps or 1000


def plan_for(config: Config, process: Process) -> Plan:
    """The config's sampler on its grid; says so where the grid has other than the asked steps."""
    wanted, grid_name = steps_of(config, process), config.sampling.skip_type
    grid = GRIDS[grid_name](process, wanted)
    if float(process.mean(grid[0]).abs().max()) == 0:
        raise ValueError(
            f"sampling would begin at t = {grid[0]:g}, where schedule "
            f"{config.diffusion.beta_schedule} leaves no signal at all: ask for fewer --timesteps"
        )
    sampler = config.sampler()
    plan = SAMPLERS[sampler.name](process, grid, **sampler.options)
    if len(grid) - 1 != wanted:
        log.warning("%d steps asked, grid %s has %d", wanted, grid_name, len(grid) - 1)
    if float(process.factor(grid[0]).max()) < 0.5:
        log.warning("sampling begins at t = %g, where an image is hardly noise yet", grid[0])
    return plan


def _blocks(indices: Sequence[int], size: int) -> list[int]:
    return sorted({i // size for i in indices})


def blocks(indices: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    """Consecutive runs of at most `size` indices."""
    for begin in range(0, len(indices), size):
        yield indices[begin : begin + size]


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
    count, unit = config.sampling.n_samples, drawer.block
    size = max(config.sampling.batch_size // unit, 1) * unit
    mine = [i for i in range(count) if i // unit % ranks.world == ranks.rank]
    held = imagedir.existing(folder, count) if folder else set()
    ranks.barrier()  # nobody writes before everybody has looked
    todo = [i for i in mine if i not in held]
    writer = imagedir.Writer(folder) if folder else None
    bar = tqdm(
        total=len(mine), unit="img", disable=not (ranks.first and sys.stderr.isatty()), leave=False
    )
    began = time.perf_counter()
    try:
        for part in blocks(todo, size):
            images = to_uint8(_finite(drawer(part), part), config.data)
            if writer:
                writer.add(part, images)
            if use:
                use(part, images)
            bar.update(len(part))
            _leave_on(stop, writer)
        if writer:
            writer.flush()
        rate = len(todo) / max(time.perf_counter() - began, 1e-9)
        for part in blocks([i for i in mine if i in held and use], size):
            assert folder is not None and use is not None
            use(part, imagedir.read_back(folder, part, drawer.shape))
            bar.update(len(part))
            _leave_on(stop, writer)
    finally:
        bar.close()
        if writer:
            writer.close()
    return rate


def _finite(images: Tensor, indices: Sequence[int]) -> Tensor:
    fine = images.isfinite().flatten(1).all(1).tolist()
    if not all(fine):
        raise RuntimeError(
            f"image {indices[fine.index(False)]} is not finite: the weights are damaged, or "
            "sampling.precision is too coarse for them (fp32 is safe)"
        )
    return images


def _leave_on(stop: StopRequest, writer: imagedir.Writer | None) -> None:
    if not stop:
        return
    if writer:
        writer.flush()
    kept = "the same command goes on from here" if writer else "nothing is kept with --no_images"
    log.warning("%s: stopped; %s", stop.name, kept)
    raise SystemExit(STOPPED)
