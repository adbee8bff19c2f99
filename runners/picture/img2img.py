"""--img2img: images drawn anew from noisy versions of themselves (SDEdit, Meng et al. 2022,
2108.01073).
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from configs.command.options import Picture
from configs.schema import Config
from functions.process import Process
from runners.picture.inputs import Input, read_images, record, to_data
from runners.picture.sequence import levels
from runners.picture.studio import Studio
from runners.sampling.blocks import in_blocks
from runners.sampling.noise import Noise
from runners.sampling.walk import Walk, end_of
from runners.sheets.sheet import sheet

log = logging.getLogger("skip_step")

ABREAST = 8  # images beside each other on the sheet
MOST = 32  # images on the sheet


def identity(config: Config, picture: Picture) -> dict[str, Any]:
    """The images and the strength. Raises ConfigError or OSError for images that do not fit."""
    inputs = read_images(picture.image, config.data, taken="img2img")
    return {"image": record(inputs), "strength": picture.strength}


def draw(studio: Studio) -> list[Path]:
    """Write img2img.png, the images above what became of them, and each result as {image}.png.

    Image i gets the noise of index i, so that strength 1 draws the plain sample of that index.
    """
    inputs = read_images(studio.picture.image, studio.config.data, taken="img2img")
    full, walk = studio.walk, studio.walked
    note = _began(studio.model.process, full, walk)
    if walk is None:
        results = torch.stack([image.pixels for image in inputs])
    else:
        begin = None if walk is full else walk.times[0]
        results = _results(studio, to_data(inputs, studio.config), begin)
    strength = studio.picture.strength
    rounded = strength > 0 if walk is None else walk is full and strength < 1
    log.log(
        logging.WARNING if rounded else logging.INFO,
        "--strength %g of %d steps: %s",
        strength,
        _count(full),
        note,
    )
    paths = [studio.save("img2img.png", _sheet(studio, inputs, results, note))]
    pairs = zip(inputs, results, strict=True)
    return paths + [studio.save(f"{image.name}.png", result) for image, result in pairs]


def _began(process: Process, full: Walk, walk: Walk | None) -> str:
    """Where the walk begins, in words."""
    if walk is None:
        return "no step: the images are as they were."
    if walk is full:
        return "all steps, from the prior: nothing of the images is left."
    t = float(walk.times[0])
    image, noise = levels(process, t)
    steps = f"; {_count(walk)} of {_count(full)} steps" if walk.asked else ""
    return f"from t = {t:.3g}, {image:.2f} image + {noise:.2f} noise{steps}."


def _count(walk: Walk) -> int:
    return len(walk.times) - 1


def walked(config: Config, process: Process, walk: Walk, picture: Picture) -> Walk | None:
    """The share `strength` of the walk's steps, its last ones: the walk itself where that is all
    of them, None where it is none. Raises ConfigError where they are too few for the sampler.
    """
    steps = math.floor(picture.strength * _count(walk) + 0.5)
    if steps == _count(walk):
        return walk
    return end_of(config, process, walk, steps) if steps else None


def _results(studio: Studio, images: Tensor, begin: Tensor | None) -> Tensor:
    """What becomes of images (n, C, H, W), uint8, from time `begin` on; None: from the prior."""
    drawer, process = studio.drawer, studio.model.process
    images = images.to(drawer.device)

    def some(indices: Sequence[int]) -> Tensor:
        noise = Noise(drawer.seed, indices)
        if begin is None:
            return drawer.sample(drawer.start(noise, len(indices)), noise)
        own = images[[min(i, len(images) - 1) for i in indices]]
        times = begin.to(own.device).expand(len(own))
        x = process.perturb(own, times, noise(process.lift(own))).to(own)
        return drawer.sample(x, noise)

    return in_blocks(drawer, studio.config, len(images), some)


def _sheet(studio: Studio, inputs: Sequence[Input], results: Tensor, note: str) -> Image.Image:
    rows, left, below = [], list[str](), list[list[str]]()
    shown = list(zip(inputs, results, strict=True))[:MOST]
    for begin in range(0, len(shown), ABREAST):
        band = shown[begin : begin + ABREAST]
        rows += [[image.pixels for image, _ in band], [result for _, result in band]]
        left += ["original", "result"]
        below += [[image.name for image, _ in band], []]
    note = note[0].upper() + note[1:]
    if len(inputs) > MOST:
        note += f" The first {MOST} of {len(inputs)} images."
    return sheet(
        rows,
        left=left,
        below=below,
        title=studio.title(f"Images drawn anew with strength {studio.picture.strength:g}"),
        note=note,
        apart=(range(2, len(rows), 2), ()),
    )
