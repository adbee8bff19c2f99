"""A sheet: several images on one picture, with words around them.

Pixels are repeated and never blurred. A sheet without words is nothing but its images and gaps.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from PIL import Image, ImageDraw
from torch import Tensor

from runners.record import image_files
from runners.sheets.words import PAD, PALE, Words, shortened, writable

EDGE = 176  # grey of the line around an image
MARGIN = 12  # around a sheet that has words
NARROWEST = 420  # a sheet is at least so wide before its title is broken into lines
WIDE = 4  # gaps where a wide one is wanted
LEAST = 80  # pixels from the left to the right of an image, or more
WIDEST = 15_000  # pixels beside each other; of a WebP at most 16,383


def sheet(
    rows: Sequence[Sequence[Tensor | None]],
    top: Sequence[str] = (),
    left: Sequence[str] = (),
    title: str = "",
    note: str = "",
    below: Sequence[Sequence[str]] = (),
    least: int = LEAST,
    gap: int = 4,
    paper: int = 255,
    apart: tuple[Collection[int], Collection[int]] = ((), ()),
) -> Image.Image:
    """Lay rows of uint8 images (C, H, W) of one size on a sheet, None for an empty place: grey
    where all images are, else RGB. Of 2 channels the first is shown, of 4 the first three.

    top, left: labels of the columns and rows; below: of every image. A label may hold line breaks,
    and its lines are shortened to LONGEST letters; all columns are as wide as the widest label.
    title, note: above and under everything, broken into lines where they are long.
    least: images are enlarged by a whole factor until they are so many pixels wide.
    gap: pixels between images, of `paper` grey; apart: rows and columns before which it is wide.
    Raises ValueError where there is no image, or their sizes differ.
    """
    tile, grey = _tile(rows, least)
    title, note = writable(title), writable(note)
    top, left, *below = (list(map(shortened, texts)) for texts in (top, left, *below))
    worded = any((top, left, title, note, below))
    words, margin = Words(tile[0]), MARGIN if worded else gap
    room = max([tile[0], *map(words.width, (*top, *(text for line in below for text in line)))])
    lines = [max(map(words.height, line), default=0) for line in below]
    least_high = max([tile[1], *map(words.height, left)])
    high = [least_high + sum(lines[i : i + 1]) for i in range(len(rows))]
    aside = margin + max((words.width(text) + PAD for text in left), default=0)
    xs, right = _places([room] * max(map(len, rows)), aside, gap, apart[1])
    inside = max(right - margin, min(NARROWEST, max(words.width(title), words.width(note))))
    title, note = words.broken(title, inside), words.broken(note, inside)
    head = margin + words.height(title)
    ys, bottom = _places(high, head + max(map(words.height, top), default=0), gap, apart[0])

    size = (inside + 2 * margin, bottom + words.height(note) + margin)
    canvas = Image.new("L" if grey else "RGB", size, paper if grey else (paper,) * 3)
    words.write(canvas, title, margin, margin)
    words.write(canvas, note, margin, bottom, ink=PALE)
    for x, text in zip(xs, top, strict=False):
        words.write(canvas, text, x + room // 2, head, centred=True)
    for y, text in zip(ys, left, strict=False):
        words.write(canvas, text, margin, y + max(0, tile[1] - words.height(text)) // 2)
    for y, row in zip(ys, rows, strict=True):
        for x, cell in zip(xs, row, strict=False):
            if cell is not None:
                _paste(canvas, cell, (x + (room - tile[0]) // 2, y), tile, framed=worded)
    for y, line in zip(ys, below, strict=False):
        for x, text in zip(xs, line, strict=False):
            words.write(canvas, text, x + room // 2, y + tile[1], centred=True)
    return canvas


def abreast(side: int, label: str = "") -> int:
    """Count how many images of `side` pixels, labelled like this, a sheet holds beside each other;
    it holds as many below each other.
    """
    width = side * max(1, -(-LEAST // side))
    return max(1, WIDEST // (max(width, Words(width).width(label)) + WIDE))


def beside(sheets: Sequence[Image.Image]) -> Image.Image:
    """Join sheets from left to right, their upper edges in line."""
    kind = "RGB" if any(part.mode == "RGB" for part in sheets) else "L"
    size = (sum(part.width for part in sheets), max(part.height for part in sheets))
    canvas, x = Image.new(kind, size, "white"), 0
    for part in sheets:
        canvas.paste(part, (x, 0))
        x += part.width
    return canvas


def _tile(rows: Sequence[Sequence[Tensor | None]], least: int) -> tuple[tuple[int, int], bool]:
    """Compute width and height of an enlarged image, and whether all images are grey."""
    cells = [cell for row in rows for cell in row if cell is not None]
    if len({cell.shape[1:] for cell in cells}) != 1:
        raise ValueError("a sheet needs images, and all of one size")
    height, width = cells[0].shape[1:]
    factor = max(1, -(-least // width))
    return (width * factor, height * factor), all(cell.shape[0] < 3 for cell in cells)


def _places(
    sizes: Iterable[int], begin: int, gap: int, apart: Collection[int]
) -> tuple[list[int], int]:
    """Place things of these sizes one after the other: where each begins, where the last ends."""
    found, end = [], begin - gap
    for i, size in enumerate(sizes):
        found.append(end + gap * (WIDE if i in apart and i else 1))
        end = found[-1] + size
    return found, end


def _paste(
    canvas: Image.Image, cell: Tensor, place: tuple[int, int], size: tuple[int, int], framed: bool
) -> None:
    channels = {2: 1, 4: 3}.get(cell.shape[0], cell.shape[0])
    picture = image_files.to_picture(cell[:channels].cpu()).resize(size, Image.Resampling.NEAREST)
    if framed:  # so that white images do not run into the paper
        x, y = place
        corners = (x - 1, y - 1, x + size[0], y + size[1])
        ImageDraw.Draw(canvas).rectangle(
            corners, outline=EDGE if canvas.mode == "L" else (EDGE,) * 3
        )
    canvas.paste(picture, place)
