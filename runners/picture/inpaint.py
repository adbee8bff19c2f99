"""--inpaint: holes in images, filled by the model; every other pixel stays as it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from configs.command.options import Picture
from configs.schema import Config, ConfigError
from functions.editing.inpainting import Known, blurs, resampled, usual
from functions.plan import Plan
from functions.process import Process
from runners.picture.inputs import Input, read_images, read_mask, record, to_data
from runners.picture.studio import Studio
from runners.sampling.blocks import in_blocks
from runners.sampling.noise import Noise
from runners.sampling.walk import Walk, walk_for
from runners.sheets.sheet import sheet

MOST = 16  # images on the sheet
HIDDEN = (240, 80, 160)  # the colour of a hole


def identity(config: Config, picture: Picture) -> dict[str, Any]:
    """The images, the mask, how holes are filled and how often. Raises ConfigError or OSError for
    images and masks that do not fit, and for samplers that cannot fill a hole.
    """
    process = config.process()
    fill = _in_full(process, walk_for(config, process), picture)
    inputs = read_images(picture.image, config.data)
    _, mask = read_mask(picture.mask, config)
    return {"image": record(inputs), **mask, "fills": picture.fills, "fill": fill}


def draw(studio: Studio) -> list[Path]:
    """Write inpaint.png, a row for every image: itself, its hole, its fills; and each fill as
    {image}_{fill}.png. Fill f of image i is drawn with the noise of index i * fills + f.
    """
    fill = _in_full(studio.model.process, studio.walk, studio.picture)
    inputs = read_images(studio.picture.image, studio.config.data)
    hole, _ = read_mask(studio.picture.mask, studio.config)
    fills = _fills(studio, inputs, hole)
    paths = [studio.save("inpaint.png", _sheet(studio, inputs, hole, fills, fill))]
    for image, own in zip(inputs, fills, strict=True):
        paths += [studio.save(f"{image.name}_{f}.png", fill) for f, fill in enumerate(own)]
    return paths


def walked(config: Config, process: Process, walk: Walk, picture: Picture) -> Walk:
    """The walk with its jumps back. Raises ConfigError where a sampler or its steps allow none."""
    how, *numbers = _in_full(process, walk, picture).split(":")
    if how == "replace":
        return walk
    assert isinstance(walk.plan, Plan)
    jump, times = map(int, numbers)
    try:
        return replace(walk, plan=resampled(process, walk.plan, jump, times))
    except ValueError as err:
        raise _refused(walk, picture, err) from err


def _in_full(process: Process, walk: Walk, picture: Picture) -> str:
    """How holes are filled, every number said: replace or repaint:JUMP:TIMES. Raises ConfigError
    for a sampler that cannot.
    """
    if not isinstance(walk.plan, Plan):
        raise ConfigError(
            f"--inpaint: {walk.sampler} chooses its own steps, so there is no time at which the "
            "known pixels could be put in; take another --sample_type"
        )
    how, *numbers = picture.fill.split(":")
    if how == "replace":
        return how
    try:
        rest = usual(process, walk.plan)[len(numbers) :]
    except ValueError as err:
        raise _refused(walk, picture, err) from err
    return ":".join([how, *numbers, *map(str, rest)])


def _refused(walk: Walk, picture: Picture, err: ValueError) -> ConfigError:
    return ConfigError(f"--fill {picture.fill} with {walk.sampler}: {err}")


def _fills(studio: Studio, inputs: Sequence[Input], hole: Tensor) -> list[Tensor]:
    """The fills of each image, uint8 (fills, C, H, W)."""
    drawer, process, fills = studio.drawer, studio.model.process, studio.picture.fills
    images = to_data(inputs, studio.config).to(drawer.device)
    where = hole.to(drawer.device)[None, None]

    def some(indices: Sequence[int]) -> Tensor:
        noise = Noise(drawer.seed, indices)
        own = images[[min(i // fills, len(images) - 1) for i in indices]]
        project = Known(process, own, where, noise, drawer.x0)
        return drawer.sample(drawer.start(noise, len(indices)), noise, project)

    drawn = in_blocks(drawer, studio.config, len(inputs) * fills, some)
    pixels = torch.stack([image.pixels for image in inputs]).repeat_interleave(fills, 0)
    return list(torch.where(hole, drawn, pixels).split(fills))


def _sheet(
    studio: Studio, inputs: Sequence[Input], hole: Tensor, fills: Sequence[Tensor], how: str
) -> Image.Image:
    shown = list(zip(inputs, fills, strict=True))[:MOST]
    count = studio.picture.fills
    rows = [[image.pixels, _masked(image.pixels, hole), *own] for image, own in shown]
    note = "Pink is hidden from the model. What is not pink is the same in every image of a row."
    if blurs(studio.model.process):
        note += " One more evaluation after each stage, to blur with what the hole may hold."
    if len(shown) < len(inputs):
        note += f" The first {len(shown)} of {len(inputs)} images."
    return sheet(
        rows,
        top=["original", "given", *(f"fill {f}" for f in range(count))],
        left=[image.name for image, _ in shown],
        title=studio.title(f"Holes filled by {how}"),
        note=note,
        apart=((), (2,)),
    )


def _masked(pixels: Tensor, hole: Tensor) -> Tensor:
    """The image in RGB with its hole painted over."""
    rgb = pixels[:1].expand(3, -1, -1) if len(pixels) < 3 else pixels[:3]
    return torch.where(hole, torch.tensor(HIDDEN, dtype=torch.uint8)[:, None, None], rgb)
