"""The training loss on held-out images."""

from __future__ import annotations

import torch

from configs.schema import Config
from datasets import ImageDataset
from datasets.transforms import to_model
from functions.denoiser import Denoiser
from functions.loss import LOSSES
from functions.times import TIMES
from runners.machine.precision import autocast
from runners.machine.processes import Ranks
from runners.machine.seeds import seed_step
from runners.measure.window import Window
from runners.model.classes import told_labels
from runners.sampling.blocks import blocks

HELD_OUT_BLOCK = 64  # images per draw of times and noise; a batch size would change the draws


@torch.no_grad()
def held_out_loss(
    denoiser: Denoiser, dataset: ImageDataset, config: Config, ranks: Ranks, most: int | None = None
) -> dict[str, float]:
    """Measure the training loss on held-out images: its mean, and its mean by quartile of t.

    It is unweighted, and its times are even (`antithetic`), whatever the training weighs and draws,
    so that runs are compared that differ in that only.
    Times and noise are functions of (seed, block of images), so that two sets of weights are
    compared on the same draws. most: use at most so many images.
    """
    window = Window(denoiser.process, ranks)
    times, loss = TIMES["antithetic"](denoiser.process), LOSSES[config.loss.name]
    count = min(len(dataset), most or len(dataset))
    parts = list(blocks(range(count), HELD_OUT_BLOCK))
    for number in range(ranks.rank, len(parts), ranks.world):
        seed_step(config.seed, 2**31, number)
        x0 = to_model(dataset.images(parts[number]), config.data).to(ranks.device)
        t, _ = times.sample(len(x0))
        t, noise = t.to(ranks.device), denoiser.process.noise(x0)
        label = told_labels(config, dataset, parts[number], ranks.device)
        with autocast(config.training.precision, ranks.device):
            values = loss(denoiser.given(label), x0, t, noise, **config.loss.options)
        window.add(t, values.float())
    values_by_name = window.report()
    del values_by_name["images_per_second"]
    return values_by_name
