"""Bits per dimension of held-out images: by the variational bound, or by the probability flow."""

from __future__ import annotations

import logging
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from configs.schema import Config
from datasets import ImageDataset
from datasets.transforms import to_model
from functions.denoiser import Denoiser
from functions.flow_likelihood import log_density
from functions.likelihood import bits_per_dimension
from functions.process import Process, VariancePreserving
from runners.machine.processes import Ranks
from runners.machine.seeds import seed_step
from runners.model.classes import told_labels
from runners.sampling.blocks import blocks
from runners.sampling.noise import Noise

log = logging.getLogger("skip_step")

LENGTH = (
    "variational bound: %d evaluations for each of %d images; --timesteps and "
    "--evaluation.test_images make it shorter, --likelihood none leaves it out"
)
BLOCK = 64  # images together; noise is one stream for each image, so that it changes nothing


@dataclass(frozen=True)
class Likelihood:
    """Bits per dimension: mean and standard error over `images` images, and how they were found.

    kind: "bound" or "ode". details: of a bound its prior, its terms (time, bits) and its chain.
    """

    kind: str
    bits: float
    standard_error: float | None
    images: int
    details: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        how = "variational bound" if self.kind == "bound" else "probability flow"
        error = "" if self.standard_error is None else f" +- {self.standard_error:.4f}"
        steps = f", {self.details['steps']} steps" if "steps" in self.details else ""
        variance = f", variance {self.details['variance']}" if "variance" in self.details else ""
        return (
            f"{self.bits:.4f}{error} bits per dimension ({how}{steps}{variance}; "
            f"{self.images:,} held-out images, error over images)"
        )


def undefined(config: Config, denoiser: Denoiser, kind: str) -> str:
    """Say why the images have no likelihood of this kind, "bound" or "ode"; "" where they have."""
    data = config.data
    if not isinstance(denoiser.process, VariancePreserving):
        return f"it is not defined for process {config.diffusion.process}, but for vp and vpsde"
    if not data.rescaled or data.logit_transform or data.gaussian_dequantization:
        return "it needs 8-bit pixels scaled to [-1, 1]: data.rescaled true, no other scaling"
    if kind == "bound" and data.uniform_dequantization:
        return "the bound needs 8-bit pixels: data.uniform_dequantization is true"
    if kind == "bound" and not denoiser.process.mean(_times(config, denoiser.process)[0]).any():
        return "the bound needs some signal at the first time of its grid; take fewer --timesteps"
    return ""


def bound(
    denoiser: Denoiser, dataset: ImageDataset, config: Config, ranks: Ranks, most: int | None
) -> Likelihood:
    """Bound the likelihood by the chain over the config's time grid, whose last time is clean data
    (a grid of continuous time ends a little before, and its last time is moved there).

    most: use at most so many images; None: all.
    """
    sampling, times = config.sampling, _times(config, denoiser.process)
    clip, exact = None if sampling.clip is False else 1.0, config.evaluation.decoder == "erf"
    log.info(LENGTH, len(times) - 1, min(len(dataset), most or len(dataset)))
    rows, indices = [torch.empty(0, len(times) + 1)], list[int]()
    for part, x0 in _images(dataset, config, ranks, most, "bound"):
        noise = Noise(config.seed, part)
        with torch.no_grad():
            told = denoiser.given(told_labels(config, dataset, part, ranks.device))
            found = bits_per_dimension(told, x0, times, noise, clip, exact)
        rows.append(torch.cat([found.total[:, None], found.prior[:, None], found.terms], 1).cpu())
        indices += part
    every = _gathered(torch.cat(rows), indices, ranks)
    mean = every.double().mean(0).tolist()
    details = {
        "variance": denoiser.variance,
        "decoder": config.evaluation.decoder,
        "clip": clip,
        "grid": str(config.grid()),
        "steps": len(times) - 1,
        "times": times.tolist(),
        "prior": mean[1],
        "terms": mean[2:],  # of the steps between the times
    }
    return Likelihood("bound", mean[0], _error(every[:, 0]), len(every), details)


def flow(
    denoiser: Denoiser, dataset: ImageDataset, config: Config, ranks: Ranks, most: int | None
) -> Likelihood:
    """Likelihood of the probability flow, each value spread evenly over its bin (uniform
    dequantisation): on average a bound of that of the 8-bit image, but for the noise that the first
    training time has and the image has not.
    """
    spread = config.data.uniform_dequantization  # then the data are spread already
    width = 2 / 256 if spread else 2 / 255
    rows, indices, evaluations = [torch.empty(0)], list[int](), []
    for part, x0 in _images(dataset, config, ranks, most, "likelihood"):
        noise = Noise(config.seed, part)
        uniform = torch.special.ndtr(noise(x0.double()))
        x = x0 if spread else (x0 + (uniform - 0.5) * width).to(x0)
        told = denoiser.given(told_labels(config, dataset, part, ranks.device))
        nats, count = log_density(told, x, noise)
        rows.append(-nats / (x0[0].numel() * math.log(2)) - math.log2(width))
        indices += part
        evaluations.append(count)
    every = _gathered(torch.cat(rows)[:, None], indices, ranks)[:, 0]
    details = {"evaluations": max(evaluations, default=0), "solver": "RK45 of SciPy, 1e-5"}
    return Likelihood("ode", float(every.double().mean()), _error(every), len(every), details)


def _times(config: Config, process: Process) -> Tensor:
    """Time grid of the bound."""
    grid, sampling = config.grid(), config.sampling
    steps = config.steps_of_grid(process) or sampling.timesteps or sampling.nfe
    times = grid.build(process, steps or process.steps or 1000, **grid.options)
    if process.factor(times[-1]).any():
        times[-1] = 0.0  # of continuous time
    return times


def _images(
    dataset: ImageDataset, config: Config, ranks: Ranks, most: int | None, title: str
) -> Iterator[tuple[Sequence[int], Tensor]]:
    """This process' blocks of images: indices, and data on the device."""
    parts = list(blocks(range(min(len(dataset), most or len(dataset))), BLOCK))
    shown = ranks.first and sys.stderr.isatty()
    own = range(ranks.rank, len(parts), ranks.world)
    for number in tqdm(own, desc=title, unit="block", disable=not shown, leave=False):
        seed_step(config.seed, 2**31, number)  # of a dequantisation
        yield parts[number], to_model(dataset.images(parts[number]), config.data).to(ranks.device)


def _gathered(rows: Tensor, indices: list[int], ranks: Ranks) -> Tensor:
    """Rows of all processes in the order of the images."""
    order = ranks.gather(torch.tensor(indices).long()).argsort()
    return ranks.gather(rows)[order]


def _error(values: Tensor) -> float | None:
    """Standard error of a mean; None of a single value."""
    return float(values.double().std() / math.sqrt(len(values))) if len(values) > 1 else None
