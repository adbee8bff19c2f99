"""--interpolation: between samples of several seeds, or between two images."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from configs.command.options import Picture
from configs.schema import Config, ConfigError
from functions.editing.interpolation import Between, Place, between, places
from functions.editing.inversion import inversion
from functions.plan import Plan
from functions.process import Process
from runners.picture.inputs import Input, read_images, record, to_data
from runners.picture.studio import Studio
from runners.record.files import write_text
from runners.sampling.blocks import finite, in_blocks
from runners.sampling.drawer import last_of
from runners.sampling.noise import Noise
from runners.sampling.walk import Walk
from runners.sheets.sheet import abreast, animation, sheet

log = logging.getLogger("skip_step")

ABREAST = 10  # images beside each other on the sheet of two corners
ENCODING = "DDIM inversion, second order"
POOR = 0.1  # RMSE of a round trip that is told as a warning
MILLISECONDS, HELD = 120, 10  # of the film's frames, and how many a corner lasts


def identity(config: Config, picture: Picture) -> dict[str, Any]:
    """The seeds or the images, and the number of points. Raises ConfigError or OSError for images
    that do not fit, and a square that no sheet holds.
    """
    most = abreast(config.data.image_size, "seed 12")
    if len(picture.seeds) == 4 and picture.points > most:
        raise ConfigError(f"--points {picture.points}: a square has at most {most} points a side")
    if picture.seeds:
        return {"seeds": list(picture.seeds), "points": picture.points}
    inputs = read_images(picture.image, config.data)
    if len(inputs) != 2:
        raise ConfigError(f"--interpolation needs two images, not {len(inputs)}")
    return {"image": record(inputs), "points": picture.points, "encoding": ENCODING}


def draw(studio: Studio) -> list[Path]:
    """Write interpolation.png, .gif and .webp, and the images: {k}.png between two corners,
    {row}_{column}.png among four; of two images also interpolation.json, how well they came back.
    """
    seeds, points = studio.picture.seeds, studio.picture.points
    where = places(len(seeds) or 2, points)
    inputs = [] if seeds else read_images(studio.picture.image, studio.config.data)
    images = _between_seeds(studio, where) if seeds else _between_images(studio, inputs, where)
    paths = [studio.save("interpolation.png", _sheet(studio, images, inputs))]
    film = _film(images, points, [f"seed {s}" for s in seeds] or [image.name for image in inputs])
    for suffix in ("gif", "webp"):
        paths.append(studio.folder / f"interpolation.{suffix}")
        animation(paths[-1], film, milliseconds=MILLISECONDS, hold=MILLISECONDS)
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


def walked(config: Config, process: Process, walk: Walk, picture: Picture) -> Walk:
    """The walk. Raises ConfigError where images are to be encoded and it does not lead one state to
    one image.
    """
    if picture.seeds:
        return walk
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
    return walk


def _between_images(studio: Studio, inputs: Sequence[Input], where: Sequence[Place]) -> Tensor:
    """uint8 (n, C, H, W): encoded, interpolated, decoded."""
    drawer, process, config = studio.drawer, studio.model.process, studio.config
    into = replace(drawer, plan=inversion(process, studio.walk.times))
    log.info("encoding in %d network evaluations", into.plan.nfe)
    x = process.lift(to_data(inputs, config).to(drawer.device))
    with torch.no_grad():
        ends = list(last_of(into.states(x, torch.randn_like)))

    def some(indices: Sequence[int]) -> Tensor:
        at = [where[min(i, len(where) - 1)] for i in indices]
        return drawer.sample(torch.stack([between(ends, place) for place in at]), torch.randn_like)

    return in_blocks(drawer, config, len(where), some)


def _compare(studio: Studio, inputs: Sequence[Input], images: Tensor) -> Path:
    """Say and write how far the two ends are from the images that they come from."""
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
        title = f"Spherical interpolation between two images\n{_maker(studio)}"
        cells = [inputs[0].pixels, *cells, inputs[1].pixels]
        names = [f"{inputs[0].name}\noriginal", *names, f"{inputs[1].name}\noriginal"]
        note = f"0.00 and 1.00 are the originals encoded ({ENCODING}) and decoded again."
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


def _maker(studio: Studio) -> str:
    """What made the way between two images; the seed only where it decides something."""
    data = studio.config.data
    drawn = data.uniform_dequantization or data.gaussian_dequantization
    return f"{studio.caption}, seed {studio.config.seed}" if drawn else studio.caption


def _film(images: Tensor, points: int, names: Sequence[str]) -> list[Image.Image]:
    """From end to end and back; of four corners once around the edge. Corners last longer."""
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
            page = sheet([[images[corner + i * step]]], note=label, least=192)
            film += [page] * (1 if i else HELD)
    return film
