"""Pictures inside the page: strips of samples, and samples above their nearest training images."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from runners.record.image_files import pixels, to_picture
from runners.report.study import Point
from runners.sheets import sheet as sheets

BUDGET = 6_000_000  # bytes of all strips together
# How much of each sheet is shown: images in a row, format, quality. The first that fits is taken.
TRIES = ((16, "PNG", None), (8, "PNG", None), (8, "WEBP", 90), (4, "WEBP", 80), (4, "WEBP", 50))
TRIED = 10  # sheets that tell what all of them would take
NEIGHBOURS = 8
GAP = 128  # grey between images: seen on light and on dark pages, beside light and dark images


@dataclass(frozen=True)
class Strips:
    """Data addresses of the strips by (doc, sampler, steps), and the seeds they are of; columns:
    images in each; ratio: width by height of one; lossy: not bit for bit.
    """

    sources: dict[tuple[str, str, int | None], str]
    seeds: dict[tuple[str, str, int | None], int]
    columns: int
    ratio: float
    lossy: bool


def strips(points: Sequence[Point], shape: Sequence[int]) -> Strips:
    """The first images of every point that has a sheet, all cut alike and packed as well as BUDGET
    asks for. shape: (C, H, W) of an image.
    """
    found = {(p.doc, p.sampler, p.steps): one for p in points if (one := sheet_of(p))}
    sheets = {key: sheet for key, (sheet, _) in found.items()}
    seeds = {key: seed for key, (_, seed) in found.items()}
    some = list(sheets.values())[:: -(-len(sheets) // TRIED) or 1]
    for columns, kind, quality in TRIES:  # all of them, over and over, would take long
        size = sum(len(address(framed(one, shape, columns), kind, quality)) for one in some)
        if size * len(sheets) <= BUDGET * len(some):
            break
    cut = {key: framed(sheet, shape, columns) for key, sheet in sheets.items()}
    packed = {key: address(picture, kind, quality) for key, picture in cut.items()}
    widest = max((sheet.width // shape[2] for sheet in sheets.values()), default=0)
    ratio = next((picture.width / picture.height for picture in cut.values()), 1)
    return Strips(packed, seeds, min(columns, widest), ratio, kind != "PNG")


def framed(sheet: Image.Image, shape: Sequence[int], columns: int) -> Image.Image:
    """The first images of a row without gaps, set apart by lines of grey."""
    n = min(columns, max(1, sheet.width // shape[2]))
    images = pixels(sheet)[..., : n * shape[2]].chunk(n, dim=2)
    return sheets.sheet([images], least=1, gap=max(1, shape[2] // 16), paper=GAP)


def sheet_of(point: Point) -> tuple[Image.Image, int] | None:
    """The picture of a point's first images, and its seed: the first that has a readable one."""
    for cell in point.cells:
        found = _open(cell.sheet)
        if found is not None:
            return found, cell.seed
    return None


@dataclass(frozen=True)
class Pairs:
    """Samples and, in the same order, their nearest training images, as data addresses of two
    strips, with their feature distances.
    """

    samples: str
    neighbours: str
    distances: list[float]


def pairs(
    point: Point, shape: Sequence[int], images: Callable[[Sequence[int]], Tensor] | None
) -> Pairs | None:
    """The first samples of a point with their neighbours; None where either is not at hand."""
    for cell in point.cells:
        found, sheet = cell.neighbours[:NEIGHBOURS], _open(cell.sheet)
        if images is None or sheet is None or not found or sheet.width < shape[2]:
            continue
        found = found[: sheet.width // shape[2]]
        nearest = to_picture(torch.cat(list(images([index for index, _ in found])), dim=2))
        samples, below = (framed(row, shape, len(found)) for row in (sheet, nearest))
        return Pairs(address(samples), address(below), [distance for _, distance in found])
    return None


def address(picture: Image.Image, kind: str = "PNG", quality: int | None = None) -> str:
    """A picture as the address of an <img> that needs no other file."""
    buffer = io.BytesIO()
    options = {"optimize": True} if kind == "PNG" else {"quality": quality, "method": 4}
    picture.save(buffer, kind, **options)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _open(path: Path | None) -> Image.Image | None:
    if path is None:
        return None
    try:
        with Image.open(path) as picture:
            return picture.copy()
    except (OSError, UnidentifiedImageError, SyntaxError):  # a report does without it
        return None
