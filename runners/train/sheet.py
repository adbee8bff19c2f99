"""Sheets that a training draws: its samples, and the images that it augments."""

from __future__ import annotations

import torch
from PIL import Image

from configs.schema import Config
from datasets import ImageDataset
from datasets.augment import augment
from datasets.transforms import to_model, to_uint8
from functions.denoiser import Denoiser
from runners.machine.seeds import seed_step
from runners.sampling.drawer import Drawer
from runners.sampling.walk import walk_for
from runners.sheets import sheet

SHOWN = 36  # images on a sheet
ACROSS = 6
STEPS = 50  # of sampling


def draw_sheet(denoiser: Denoiser, config: Config, device: torch.device) -> Image.Image:
    """Draw SHOWN samples by DEIS of order 0 (DDIM, on any process) in at most STEPS steps, of all
    classes in turn.
    """
    process, data = denoiser.process, config.data
    sampling = config.sampling.model_copy(
        update={
            **{"timesteps": min(STEPS, process.steps or STEPS), "nfe": None},
            "skip_type": "uniform" if process.steps else "quad",
            "sample_type": "deis:0",
        }
    )
    plan = walk_for(config.model_copy(update={"sampling": sampling}), process).plan
    shape = (data.channels, data.image_size, data.image_size)
    classes = range(int(data.classes))
    drawer = Drawer(denoiser, plan, shape, config.seed, device, classes=classes)
    size = config.sampling.batch_size
    parts = [
        to_uint8(drawer(range(i, min(i + size, SHOWN))).nan_to_num(), data).cpu()
        for i in range(0, SHOWN, size)
    ]
    return sheet.sheet(torch.cat(parts).unflatten(0, (-1, ACROSS)).unbind(), least=32)


def augmented_sheet(dataset: ImageDataset, config: Config) -> Image.Image:
    """Show the first SHOWN training images, each beside what the network sees of it."""
    images = dataset.images(range(min(SHOWN, len(dataset))))
    seed_step(config.seed, 0, 0)
    seen = to_uint8(augment(to_model(images, config.data), config.data.augment)[0], config.data)
    pairs = [half for pair in zip(images, seen, strict=True) for half in pair]
    width = 2 * ACROSS
    rows = [pairs[i : i + width] for i in range(0, len(pairs), width)]
    return sheet.sheet(rows, least=32, apart=((), range(2, width, 2)))
