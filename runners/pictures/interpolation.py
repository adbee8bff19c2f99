"""--interpolation: between samples of several seeds, or between two images."""

from __future__ import annotations

import json
import logging
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from configs.options import Picture
from configs.schema import Config, ConfigError
from functions.interpolation import Between, Place, between, places
from functions.inversion import inversion
from functions.plan import Plan
from runners.draw import animation, sheet
from runners.pictures.inputs import Input, read_images, record, to_data
from runners.pictures.studio import Studio
from runners.rundir import write_text
from runners.sample import Drawer, Noise, finite, in_blocks
from runners.walk import Walk, walk_for

log = logging.getLogger("skip_step")

ABREAST = 10  # images beside each other on the sheet of two corners
ORDER = 2  # of the way into noise


def identity(config: Config, picture: Picture) -> dict[str, Any]:
    """The seeds or the images, and the number of points. Raises ConfigError or OSError for images
    that do not fit, and for samplers that no image could be encoded for.
    """
    if picture.seeds:
        return {"seeds": list(picture.seeds), "points": picture.points}
    process = config.process()
    _plan_back(walk_for(config, process))
    inputs = read_images(picture.image, config.data)
    if len(inputs) != 2:
        raise ConfigError(f"--interpolation needs two images, not {len(inputs)}")
    return {"image": record(inputs), "points": picture.points, "inversion_order": ORDER}


def draw(studio: Studio) -> list[Path]:
    """Write interpolation.png, .gif and .webp, and the images: {k}.png between two corners,
    {row}_{column}.png among four; of two images also interpolation.json, how well they came back.
    """
    seeds, points = studio.picture.seeds, studio.picture.points
    where = places(len(seeds) or 2, points)
    inputs = [] if seeds else read_images(studio.picture.image, studio.config.data)
    images = _between_seeds(studio, where) if seeds else _between_images(studio, inputs, where)
    paths = [studio.save("interpolation.png", _sheet(studio, images, inputs))]
    for suffix in ("gif", "webp"):
        paths.append(studio.folder / f"interpolation.{suffix}")
        animation(paths[-1], _film(images, points), back=len(where) == points)
    if inputs:
        paths.append(_compare(studio, inputs, images))
    for k, image in enumerate(images):
        name = f"{k}.png" if len(where) == points else f"{k // points}_{k % points}.png"
        paths.append(studio.save(name, image))
    return paths


def _between_seeds(studio: Studio, where: Sequence[Place]) -> Tensor:
    """uint8 (n, C, H, W). At the corners they are the plain samples, image 0 of each seed, drawn
    as those are; in between every draw of noise is interpolated.
    """
    drawer, seeds = studio.drawer, studio.picture.seeds

    def some(indices: Sequence[int]) -> Tensor:
        at = [where[min(i, len(where) - 1)] for i in indices]
        noise = Between([Noise(seed, [0]) for seed in seeds], at)
        return drawer.sample(drawer.start(noise, len(at)), noise)

    images = in_blocks(drawer, studio.config, len(where), some)
    for seed, corner in zip(seeds, places(len(seeds), 2), strict=True):
        plain = finite(replace(drawer, seed=seed)([0]), [0])
        images[where.index(corner)] = studio.uint8(plain)[0]
    return images


def _plan_back(walk: Walk) -> Plan:
    """The walk's plan. Raises ConfigError where it does not lead one state to one image."""
    plan = walk.plan
    if not isinstance(plan, Plan):
        raise ConfigError(
            f"--interpolation of images follows the steps of a grid, and {walk.sampler} chooses "
            "its own; take another --sample_type"
        )
    if any(stage.C is not None for stage in plan.stages):
        raise ConfigError(
            f"--interpolation of images needs a sampler that draws no noise, and {walk.sampler} "
            "does; take another --sample_type, such as ddim"
        )
    return plan


def _between_images(studio: Studio, inputs: Sequence[Input], where: Sequence[Place]) -> Tensor:
    """uint8 (n, C, H, W): encoded, interpolated, decoded."""
    drawer, process, config = studio.drawer, studio.model.process, studio.config
    into = replace(drawer, plan=inversion(process, studio.walk.times, ORDER))
    log.info("encoding in %d network evaluations", into.plan.nfe)
    x = process.lift(to_data(inputs, config).to(drawer.device))
    ends = list(_encoded(into, x))

    def some(indices: Sequence[int]) -> Tensor:
        at = [where[min(i, len(where) - 1)] for i in indices]
        return drawer.sample(torch.stack([between(ends, place) for place in at]), torch.randn_like)

    return in_blocks(drawer, config, len(where), some)


def _encoded(into: Drawer, x: Tensor) -> Tensor:
    """The states at the other end of the walk from lifted data x (n, ...)."""
    with torch.no_grad():
        return deque(into.states(x, torch.randn_like), maxlen=1).pop()


def _compare(studio: Studio, inputs: Sequence[Input], images: Tensor) -> Path:
    """Say and write how far the two ends are from the images that they come from."""
    told = []
    for image, end in zip(inputs, (images[0], images[-1]), strict=True):
        off = (end.double() - image.pixels.double()) / 255
        error = {"rmse": float(off.square().mean().sqrt()), "max": float(off.abs().max())}
        log.info("%s there and back: RMSE %.4f, at most %.4f (of 1)", image.path, *error.values())
        told.append({"image": image.name, **error})
    path = studio.folder / "interpolation.json"
    write_text(path, json.dumps({"round_trip": told}, indent=1) + "\n")
    return path


def _sheet(studio: Studio, images: Tensor, inputs: Sequence[Input]) -> Image.Image:
    if len(studio.picture.seeds) == 4:
        return _square(studio, images)
    points, seeds = studio.picture.points, studio.picture.seeds
    cells, names = list(images), [f"{u:.2f}" for (u,) in places(2, points)]
    if seeds:
        title = studio.title("Spherical interpolation between the noise of two samples")
        names[0], names[-1] = (f"seed {seed}" for seed in seeds)
        note = "All noise is interpolated; the ends are the samples of their seeds."
    else:
        title = studio.title("Spherical interpolation between two images")
        cells = [inputs[0].pixels, *cells, inputs[1].pixels]
        names = [f"{inputs[0].name}\noriginal", *names, f"{inputs[1].name}\noriginal"]
        note = "0.00 and 1.00 are the originals encoded by DDIM inversion and decoded again."
    rows = [cells[i : i + ABREAST] for i in range(0, len(cells), ABREAST)]
    below = [names[i : i + ABREAST] for i in range(0, len(cells), ABREAST)]
    return sheet(rows, below=below, title=title, note=note)


def _square(studio: Studio, images: Tensor) -> Image.Image:
    """Four corners: a square of images."""
    points, seeds = studio.picture.points, studio.picture.seeds
    along = [f"{i / (points - 1):.2f}" for i in range(points)]
    corners = [f"seed {seeds[2]}", *[""] * (points - 2), f"seed {seeds[3]}"]
    return sheet(
        [list(row) for row in images.split(points)],
        top=[f"seed {seeds[0]}", *along[1:-1], f"seed {seeds[1]}"],
        left=["", *along[1:-1], ""],
        below=[*[()] * (points - 1), corners],
        title=studio.title("Spherical interpolation between the noise of four samples"),
        note="All noise is interpolated; the corners are the samples of their seeds.",
    )


def _film(images: Tensor, points: int) -> list[Image.Image]:
    """From end to end; of four corners once around the edge."""
    way, names = list(range(points)), [f"{i / (points - 1):.2f}" for i in range(points)]
    if len(images) > points:
        last = points * (points - 1)
        way = [*way, *range(2 * points - 1, last, points), *range(last + points - 1, last - 1, -1)]
        way += range(last - points, 0, -points)
        names = [f"{k // points}, {k % points}" for k in way]
    return [
        sheet([[images[k]]], below=[[name]], least=192) for k, name in zip(way, names, strict=True)
    ]
