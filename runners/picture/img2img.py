"""--img2img: images drawn anew from noisy versions of themselves (SDEdit, 2108.01073)."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from configs.schema import Config
from configs.values import Share
from functions.process import Process
from runners.picture.inputs import IMAGE_HELP, Input, read_images, record, to_data
from runners.picture.levels import levels
from runners.picture.mode import Mode, Session
from runners.picture.parts import PICTURES
from runners.sampling.blocks import in_blocks
from runners.sampling.noise import Noise
from runners.sampling.walk import Walk, end_of
from runners.sheets.sheet import sheet

log = logging.getLogger("skip_step")

ABREAST = 8  # images beside each other on the sheet
MOST = 32  # images on the sheet


@PICTURES.part(
    "img2img",
    title="Image to image, SDEdit",
    paper="2108.01073",
    helps={
        "": "draw every --image anew from a noisy version of it",
        "image": IMAGE_HELP,
        "strength": "share of the steps, from 0 (the image itself) to 1 (nothing of it is left)",
    },
)
@dataclass(frozen=True)
class Img2ImgMode(Mode):
    """Images drawn anew. image: files or folders; strength: share of the walk's steps."""

    image: tuple[Path, ...] = ()
    strength: Share | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.image:
            raise ValueError("needs --image PATH")
        if self.strength is None:
            raise ValueError("needs --strength, such as 0.5")

    @property
    def share(self) -> float:
        """The strength; the constructor made sure that there is one."""
        return self.strength or 0.0

    def identity(self, config: Config) -> dict[str, Any]:
        """The images and the strength. Raises ConfigError or OSError for images that do not fit."""
        inputs = read_images(self.image, config.data, taken=self.name)
        return {"image": record(inputs), "strength": self.strength}

    def walked(self, config: Config, process: Process, walk: Walk) -> Walk | None:
        """The last steps of the walk, a share `strength` of them: the walk itself for all of them,
        None for no step. Raises ConfigError where they are too few for the sampler.
        """
        steps = math.floor(self.share * _count(walk) + 0.5)
        if steps == _count(walk):
            return walk
        return end_of(config, process, walk, steps) if steps else None

    def draw(self, session: Session) -> list[Path]:
        """Write img2img.png, the images above their results, and each result as {image}.png.

        Image i gets the noise of index i, so that strength 1 draws the plain sample of that index.
        """
        inputs = read_images(self.image, session.config.data, taken=self.name)
        full, walk = session.walk, session.walked
        note = _beginning(session.process, full, walk)
        if walk is None:
            results = torch.stack([image.pixels for image in inputs])
        else:
            begin = None if walk is full else walk.times[0]
            results = _results(session, to_data(inputs, session.config), begin)
        rounded = self.share > 0 if walk is None else walk is full and self.share < 1
        level = logging.WARNING if rounded else logging.INFO
        log.log(level, "--strength %g of %d steps: %s", self.share, _count(full), note)
        title = session.title(f"Images drawn anew with strength {self.share:g}")
        paths = [session.save("img2img.png", _sheet(title, inputs, results, note))]
        pairs = zip(inputs, results, strict=True)
        return paths + [session.save(f"{image.name}.png", result) for image, result in pairs]


def _beginning(process: Process, full: Walk, walk: Walk | None) -> str:
    """Say where the walk begins."""
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


def _results(session: Session, images: Tensor, begin: Tensor | None) -> Tensor:
    """Edit images (n, C, H, W), data, by SDEdit: add noise up to time `begin`, then sample. begin:
    None to start from the prior. Return uint8 (n, C, H, W).
    """
    drawer, process = session.drawer, session.process
    images = images.to(drawer.device)

    def some(indices: Sequence[int]) -> Tensor:
        noise, labelled = Noise(drawer.seed, indices), drawer.labelled(indices)
        if begin is None:
            return labelled.sample(drawer.start(noise, len(indices)), noise)
        own = images[[min(i, len(images) - 1) for i in indices]]
        times = begin.to(own.device).expand(len(own))
        x = process.perturb(own, times, noise(process.lift(own))).to(own)
        return labelled.sample(x, noise)

    return in_blocks(drawer, session.config, len(images), some)


def _sheet(title: str, inputs: Sequence[Input], results: Tensor, note: str) -> Image.Image:
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
    apart = range(2, len(rows), 2), ()
    return sheet(rows, left=left, below=below, title=title, note=note, apart=apart)
