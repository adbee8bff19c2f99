"""--inpaint: holes in images, filled by the model; every other pixel stays as it is."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from configs.schema import Config, ConfigError
from configs.values import Count
from functions.editing.inpainting import Known, blurs, resampled, usual
from functions.plan import Plan
from functions.process import Process
from runners.picture.inputs import (
    IMAGE_HELP,
    MASK_HELP,
    Input,
    check_mask,
    read_images,
    read_mask,
    record,
    to_data,
)
from runners.picture.mode import Mode, Session
from runners.picture.parts import PICTURES
from runners.sampling.blocks import in_blocks
from runners.sampling.noise import Noise
from runners.sampling.walk import Walk, walk_for
from runners.sheets.sheet import sheet

FILL = re.compile(r"replace|repaint(:[1-9]\d{0,5}){0,2}")
MOST = 16  # images on the sheet
HIDDEN = (240, 80, 160)  # the colour of a hole


@PICTURES.part(
    "inpaint",
    title="Inpainting, RePaint",
    paper="2201.09865",
    helps={
        "": "fill what --mask hides of every --image",
        "image": IMAGE_HELP,
        "mask": MASK_HELP,
        "fills": "number of fills of every image",
        "fill": "repaint[:JUMP[:TIMES]] or replace; unsaid, JUMP is 2 (of cld a third of the "
        "steps) and TIMES 10",
    },
)
@dataclass(frozen=True)
class InpaintMode(Mode):
    """Holes filled. image: files or folders; mask: as `read_mask` takes it; fills: of every image;
    fill: `replace`, `repaint`, `repaint:JUMP` or `repaint:JUMP:TIMES`, the rest as in `usual`.
    """

    image: tuple[Path, ...] = ()
    mask: str = ""
    fills: Count = 4
    fill: str = "repaint"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.image:
            raise ValueError("needs --image PATH")
        if not self.mask:
            raise ValueError("needs --mask, such as center")
        check_mask(self.mask)
        if not FILL.fullmatch(self.fill):
            raise ValueError(f"--fill {self.fill}: should be replace or repaint[:JUMP[:TIMES]]")

    def identity(self, config: Config) -> dict[str, Any]:
        """The images, the mask, and how holes are filled. Raises ConfigError or OSError for images
        and masks that do not fit, and for samplers that cannot fill a hole.
        """
        process = config.process()
        fill = self._in_full(process, walk_for(config, process))
        inputs = read_images(self.image, config.data)
        _, mask = read_mask(self.mask, config)
        return {"image": record(inputs), **mask, "fills": self.fills, "fill": fill}

    def walked(self, config: Config, process: Process, walk: Walk) -> Walk:
        """The walk with its jumps back. Raises ConfigError where the sampler or the number of steps
        allows none.
        """
        how, *numbers = self._in_full(process, walk).split(":")
        if how == "replace":
            return walk
        assert isinstance(walk.plan, Plan)
        jump, times = map(int, numbers)
        try:
            return replace(walk, plan=resampled(process, walk.plan, jump, times))
        except ValueError as err:
            raise self._refused(walk, err) from err

    def draw(self, session: Session) -> list[Path]:
        """Write inpaint.png, a row for every image: itself, its hole, its fills; and each fill as
        {image}_{fill}.png. Fill f of image i is drawn with the noise of index i * fills + f.
        """
        inputs = read_images(self.image, session.config.data)
        hole, _ = read_mask(self.mask, session.config)
        fills = self._filled(session, inputs, hole)
        paths = [session.save("inpaint.png", self._sheet(session, inputs, hole, fills))]
        for image, own in zip(inputs, fills, strict=True):
            paths += [session.save(f"{image.name}_{f}.png", fill) for f, fill in enumerate(own)]
        return paths

    def _in_full(self, process: Process, walk: Walk) -> str:
        """Complete `fill`: replace or repaint:JUMP:TIMES. Raises ConfigError for a sampler that
        cannot fill a hole.
        """
        if not isinstance(walk.plan, Plan):
            raise ConfigError(
                f"--inpaint: {walk.sampler} chooses its own steps, so there is no time at which "
                "the known pixels could be put in; take another --sample_type"
            )
        how, *numbers = self.fill.split(":")
        if how == "replace":
            return how
        try:
            rest = usual(process, walk.plan)[len(numbers) :]
        except ValueError as err:
            raise self._refused(walk, err) from err
        return ":".join([how, *numbers, *map(str, rest)])

    def _refused(self, walk: Walk, err: ValueError) -> ConfigError:
        return ConfigError(f"--fill {self.fill} with {walk.sampler}: {err}")

    def _filled(self, session: Session, inputs: Sequence[Input], hole: Tensor) -> list[Tensor]:
        """Draw the fills of each image, uint8 (fills, C, H, W)."""
        drawer, process = session.drawer, session.process
        images = to_data(inputs, session.config).to(drawer.device)
        where = hole.to(drawer.device)[None, None]

        def some(indices: Sequence[int]) -> Tensor:
            noise, labelled = Noise(drawer.seed, indices), drawer.labelled(indices)
            own = images[[min(i // self.fills, len(images) - 1) for i in indices]]
            project = Known(process, own, where, noise, labelled.x0)
            return labelled.sample(drawer.start(noise, len(indices)), noise, project)

        drawn = in_blocks(drawer, session.config, len(inputs) * self.fills, some)
        pixels = torch.stack([image.pixels for image in inputs]).repeat_interleave(self.fills, 0)
        return list(torch.where(hole, drawn, pixels).split(self.fills))

    def _sheet(
        self, session: Session, inputs: Sequence[Input], hole: Tensor, fills: Sequence[Tensor]
    ) -> Image.Image:
        shown = list(zip(inputs, fills, strict=True))[:MOST]
        rows = [[image.pixels, _masked(image.pixels, hole), *own] for image, own in shown]
        note = (
            "Pink is hidden from the model. What is not pink is the same in every image of a row."
        )
        if blurs(session.process):
            note += " One more evaluation after each stage, to blur with what the hole may hold."
        if len(shown) < len(inputs):
            note += f" The first {len(shown)} of {len(inputs)} images."
        return sheet(
            rows,
            top=["original", "given", *(f"fill {f}" for f in range(self.fills))],
            left=[image.name for image, _ in shown],
            title=session.title(f"Holes filled by {self._in_full(session.process, session.walk)}"),
            note=note,
            apart=((), (2,)),
        )


def _masked(pixels: Tensor, hole: Tensor) -> Tensor:
    """Paint the hole over, in RGB."""
    rgb = pixels[:1].expand(3, -1, -1) if len(pixels) < 3 else pixels[:3]
    return torch.where(hole, torch.tensor(HIDDEN, dtype=torch.uint8)[:, None, None], rgb)
