"""Sheets of samples inside the HTML file, as data addresses."""

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
from runners.report.comparison import Point
from runners.sheets import sheet as sheets

Images = Callable[[Sequence[int]], Tensor]  # training images (n, C, H, W), uint8, by index
BUDGET = 6_000_000  # bytes of all sheets together
# How much of each sheet is shown: images in a row, format, quality. The first that fits is taken.
TRIES = ((16, "PNG", None), (8, "PNG", None), (8, "WEBP", 90), (4, "WEBP", 80), (4, "WEBP", 50))
TRIED = 10  # sheets from which the size of all is estimated
NEIGHBOURS = 8
GAP = 128  # grey between images: seen on light and dark paper, beside light and dark images


@dataclass(frozen=True)
class Sheets:
    """One sheet for each (doc, sampler, steps). sources: data addresses; seeds: of the samples.

    columns: images in each; ratio: width by height of one; lossy: not bit for bit.
    """

    sources: dict[tuple[str, str, int | None], str]
    seeds: dict[tuple[str, str, int | None], int]
    columns: int
    ratio: float
    lossy: bool


def packed(points: Sequence[Point], shape: Sequence[int]) -> Sheets:
    """Pack the first images of every point that has a sheet, all cut alike, into BUDGET bytes.

    shape: (C, H, W) of an image.
    """
    found = {p.place: one for p in points if (one := sheet_of(p))}
    whole = {place: sheet for place, (sheet, _) in found.items()}
    seeds = {place: seed for place, (_, seed) in found.items()}
    some = list(whole.values())[:: -(-len(whole) // TRIED) or 1]
    for columns, kind, quality in TRIES:  # packing all of them for every try would take long
        size = sum(len(address(framed(one, shape, columns), kind, quality)) for one in some)
        if size * len(whole) <= BUDGET * len(some):
            break
    cut = {place: framed(sheet, shape, columns) for place, sheet in whole.items()}
    sources = {place: address(picture, kind, quality) for place, picture in cut.items()}
    widest = max((sheet.width // shape[2] for sheet in whole.values()), default=0)
    ratio = next((picture.width / picture.height for picture in cut.values()), 1)
    return Sheets(sources, seeds, min(columns, widest), ratio, kind != "PNG")


def framed(sheet: Image.Image, shape: Sequence[int], columns: int) -> Image.Image:
    """The first images of a row without gaps, set apart by grey lines."""
    n = min(columns, max(1, sheet.width // shape[2]))
    images = pixels(sheet)[..., : n * shape[2]].chunk(n, dim=2)
    return sheets.sheet([images], least=1, gap=max(1, shape[2] // 16), paper=GAP)


def sheet_of(point: Point) -> tuple[Image.Image, int] | None:
    """The first readable sheet of a point, and its seed."""
    for cell in point.cells:
        if (found := _open(point.folder, cell.measured.sheet)) is not None:
            return found, cell.seed
    return None


@dataclass(frozen=True)
class Pairs:
    """Samples and their nearest training images in the same order, as data addresses of two sheets,
    with their feature distances.
    """

    samples: str
    neighbours: str
    distances: list[float]


def pairs(point: Point, shape: Sequence[int], images: Images | None) -> Pairs | None:
    """The first samples of a point with their neighbours; None where either is missing."""
    for cell in point.cells:
        found = (cell.measured.neighbours or [])[:NEIGHBOURS]
        sheet = _open(point.folder, cell.measured.sheet)
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


def _open(folder: Path, sheet: str | None) -> Image.Image | None:
    if sheet is None:
        return None
    try:
        with Image.open(folder / sheet) as picture:
            return picture.copy()
    except (OSError, UnidentifiedImageError, SyntaxError):  # a report does without it
        return None
