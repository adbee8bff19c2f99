"""--interpolation: between samples of several seeds, or between two images."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import torch
from annotated_types import Ge
from PIL import Image
from torch import Tensor

from configs.schema import Config, ConfigError
from configs.values import CountOrZero
from functions.editing.interpolation import Between, Place, between, places
from functions.editing.inversion import inversion
from functions.plan import Plan
from functions.process import Process
from runners.picture.inputs import IMAGE_HELP, Input, read_images, record, to_data
from runners.picture.mode import Mode, Session
from runners.picture.parts import PICTURES
from runners.record.files import write_text
from runners.sampling.blocks import finite, in_blocks
from runners.sampling.drawer import last_of
from runners.sampling.noise import Noise
from runners.sampling.walk import Walk
from runners.sheets.sheet import abreast, sheet

log = logging.getLogger("skip_step")

ABREAST = 10  # images beside each other on the sheet of two corners
ENCODING = "DDIM inversion, second order"
POOR = 0.1  # RMSE of a round trip that is told as a warning
EACH, HELD = 120, 10  # milliseconds of a frame of the film, and frames that a corner lasts


@PICTURES.part(
    "interpolation",
    title="Spherical interpolation",
    paper="2010.02502",
    helps={
        "": "between --seeds A,B (four: the corners of a grid) or two images given by --image",
        "seeds": "two or four seeds of the noise, as in 0,1",
        "image": IMAGE_HELP,
        "points": "number of images from end to end",
    },
)
@dataclass(frozen=True)
class InterpolationMode(Mode):
    """Images between corners. seeds: two or four different ones; image: two images instead;
    points: from end to end.
    """

    seeds: tuple[CountOrZero, ...] = ()
    image: tuple[Path, ...] = ()
    points: Annotated[int, Ge(2)] = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        if bool(self.seeds) == bool(self.image):
            raise ValueError("needs either --seeds A,B or --image FILE FILE")
        if len(self.seeds) not in (0, 2, 4) or len(set(self.seeds)) < len(self.seeds):
            typed = ",".join(map(str, self.seeds))
            raise ValueError(f"--seeds {typed}: should be two or four different seeds")

    def identity(self, config: Config) -> dict[str, Any]:
        """The seeds or the images, and the number of points. Raises ConfigError or OSError for
        images that do not fit, and for a square that no sheet holds.
        """
        most = abreast(config.data.image_size, "seed 12")
        if len(self.seeds) == 4 and self.points > most:
            raise ConfigError(f"--points {self.points}: a square has at most {most} points a side")
        if self.seeds:
            return {"seeds": list(self.seeds), "points": self.points}
        inputs = read_images(self.image, config.data)
        if len(inputs) != 2:
            raise ConfigError(f"--interpolation needs two images, not {len(inputs)}")
        return {"image": record(inputs), "points": self.points, "encoding": ENCODING}

    def walked(self, config: Config, process: Process, walk: Walk) -> Walk:
        """The walk itself. Raises ConfigError where images are to be encoded and the walk does not
        lead one state to one image.
        """
        if self.seeds:
            return walk
        if not isinstance(walk.plan, Plan):
            raise ConfigError(
                f"--interpolation of images follows the steps of a time grid, and {walk.sampler} "
                "chooses its own; take another --sample_type"
            )
        if any(stage.C is not None for stage in walk.plan.stages):
            raise ConfigError(
                "--interpolation of images needs a sampler that draws no noise, and "
                f"{walk.sampler} does; take another --sample_type, such as ddim"
            )
        return walk

    def draw(self, session: Session) -> list[Path]:
        """Write interpolation.png, .gif and .webp, and the images: {k}.png between two corners,
        {row}_{column}.png among four; of two images also interpolation.json, the error of their
        round trip.
        """
        seeds, points = self.seeds, self.points
        where = places(len(seeds) or 2, points)
        inputs = [] if seeds else read_images(self.image, session.config.data)
        if seeds:
            images = _between_seeds(session, seeds, where)
        else:
            images = _between_images(session, inputs, where)
        paths = [session.save("interpolation.png", _sheet(session, images, seeds, inputs))]
        film = _film(images, points, [f"seed {s}" for s in seeds] or [i.name for i in inputs])
        paths += session.film("interpolation", film, milliseconds=EACH, hold=EACH)
        if inputs:
            paths.append(_compare(session, inputs, images))
        for k, image in enumerate(images):
            name = f"{k}.png" if len(where) == points else f"{k // points}_{k % points}.png"
            paths.append(session.save(name, image))
        return paths


def _between_seeds(session: Session, seeds: Sequence[int], where: Sequence[Place]) -> Tensor:
    """Draw images with interpolated noise, uint8 (n, C, H, W). At the corners they are the plain
    samples, image 0 of each seed, drawn as those are; all have the class of image 0.
    """
    drawer = session.drawer

    def some(indices: Sequence[int]) -> Tensor:
        at = [where[min(i, len(where) - 1)] for i in indices]
        noise = Between([Noise(seed, [0]) for seed in seeds], at)
        labelled = drawer.labelled([0] * len(at))
        return labelled.sample(drawer.start(noise, len(at)), noise)

    images = in_blocks(drawer, session.config, len(where), some)
    for seed, corner in zip(seeds, places(len(seeds), 2), strict=True):
        plain = finite(replace(drawer, seed=seed)([0]), [0])
        images[where.index(corner)] = session.uint8(plain)[0]
    return images


def _between_images(session: Session, inputs: Sequence[Input], where: Sequence[Place]) -> Tensor:
    """Encode two images, interpolate their states and decode, all as the class of image 0: uint8
    (n, C, H, W).
    """
    drawer, process, config = session.drawer, session.process, session.config
    into = replace(drawer, plan=inversion(process, session.walk.times))
    log.info("encoding in %d network evaluations", into.plan.nfe)
    x = process.lift(to_data(inputs, config).to(drawer.device))
    with torch.no_grad():
        ends = list(last_of(into.labelled([0, 0]).states(x, torch.randn_like)))

    def some(indices: Sequence[int]) -> Tensor:
        at = [where[min(i, len(where) - 1)] for i in indices]
        x = torch.stack([between(ends, place) for place in at])
        return drawer.labelled([0] * len(at)).sample(x, torch.randn_like)

    return in_blocks(drawer, config, len(where), some)


def _compare(session: Session, inputs: Sequence[Input], images: Tensor) -> Path:
    """Log and write how far the two ends are from the images that they come from."""
    told = []
    for image, end in zip(inputs, (images[0], images[-1]), strict=True):
        off = (end.double() - image.pixels.double()) / 255
        error = {"rmse": float(off.square().mean().sqrt()), "max": float(off.abs().max())}
        text = f"{image.path} there and back: RMSE {error['rmse']:.4f}, at most {error['max']:.4f}"
        if error["rmse"] > POOR:
            log.warning("%s (of 1): more --timesteps would bring it back better", text)
        else:
            log.info("%s (of 1)", text)
        told.append({"image": image.name, **error})
    path = session.folder / "interpolation.json"
    write_text(path, json.dumps({"round_trip": told}, indent=1) + "\n")
    return path


def _sheet(
    session: Session, images: Tensor, seeds: Sequence[int], inputs: Sequence[Input]
) -> Image.Image:
    """Lay out the images: of two corners in reading order, of four as a square."""
    if len(seeds) == 4:
        return _square(session, images, seeds)
    cells, names = list(images), [f"{u:.2f}" for (u,) in places(2, len(images))]
    if seeds:
        title = session.title("Spherical interpolation between the noise of two samples", False)
        names[0], names[-1] = (f"seed {seed}" for seed in seeds)
        note = "All noise is interpolated; the ends are the samples of their seeds."
    else:
        data = session.config.data  # the seed decides nothing but the noise of dequantization
        seeded = data.uniform_dequantization or data.gaussian_dequantization
        title = session.title("Spherical interpolation between two images", seeded)
        cells = [inputs[0].pixels, *cells, inputs[1].pixels]
        names = [f"{inputs[0].name}\noriginal", *names, f"{inputs[1].name}\noriginal"]
        note = f"0.00 and 1.00 are the originals encoded ({ENCODING}) and decoded again."
    rows = [cells[i : i + ABREAST] for i in range(0, len(cells), ABREAST)]
    below = [names[i : i + ABREAST] for i in range(0, len(cells), ABREAST)]
    return sheet(rows, below=below, title=title, note=note)


def _square(session: Session, images: Tensor, seeds: Sequence[int]) -> Image.Image:
    """Sheet of four corners: a square of images."""
    points = math.isqrt(len(images))
    along = [f"{i / (points - 1):.2f}" for i in range(points)]
    corners = [f"seed {seeds[2]}", *[""] * (points - 2), f"seed {seeds[3]}"]
    return sheet(
        [list(row) for row in images.split(points)],
        top=[f"seed {seeds[0]}", *along[1:-1], f"seed {seeds[1]}"],
        left=["", *along[1:-1], ""],
        below=[*[()] * (points - 1), corners],
        title=session.title("Spherical interpolation between the noise of four samples", False),
        note="All noise is interpolated; the corners are the samples of their seeds.",
    )


def _film(images: Tensor, points: int, names: Sequence[str]) -> list[Image.Image]:
    """Frames from end to end and back, of four corners once around the edge; corners are held."""
    last = points - 1
    if len(names) == 2:
        corners, steps = [0, last], [1, -1]
    else:
        names = [names[i] for i in (0, 1, 3, 2)]
        corners = [0, last, points * points - 1, points * last]
        steps = [1, points, -1, -points]
    film, others = [], [*names[1:], names[0]]
    for corner, step, name, other in zip(corners, steps, names, others, strict=True):
        labels = [name, *(f"{name} to {other}, {i / last:.2f}" for i in range(1, last))]
        for i, label in enumerate(labels):
            # as a note: it leaves the image where it is, however long it is
            made = sheet([[images[corner + i * step]]], note=label, least=192)
            film += [made] * (1 if i else HELD)
    return film
