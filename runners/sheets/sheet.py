"""Pictures for people: images on one sheet with words around them, and sheets as a film.

Pixels are repeated and never blurred; a sheet without words is nothing but its images and gaps.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from runners.record import image_files

INK, PALE, EDGE = 0, 96, 176  # greys of words, of the note, of the line around an image
SMALLEST, LARGEST = 18, 30  # a letter grows with the images, so that both are seen alike
MARGIN = 12  # around a sheet that has words
NARROWEST = 420  # a page is at least so wide before its title is broken into lines
WIDE = 4  # gaps where a wide one is wanted
PAD = 3  # pixels around a label
LONGEST = 24  # letters of a line of a label; more are left out in the middle
LEAST = 80  # pixels from the left to the right of an image, or more
WIDEST = 15_000  # pixels beside each other; of a WebP at most 16,383
GREYS = sorted({*range(0, 256, 17), PALE, EDGE})  # that every film has, for its words
EXACT = "donot_use_mm_for_euclid_dist"  # of torch.cdist


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
    """Rows of uint8 images (C, H, W) of one size, None for an empty place, as a picture: grey where
    all images are, else RGB. Of 2 channels the first is shown, of 4 the first three.

    top, left: labels of the columns and rows; below: of every image; title, note: above and under
    everything, broken into lines where they are long. A label may hold line breaks, and its lines
    are shortened to LONGEST letters; all columns are as wide as the widest label. least: images are
    enlarged by a whole factor until they are so many pixels wide. gap: pixels between images, of
    `paper` grey; apart: the rows and the columns before which it is a wide one. Raises ValueError
    where there is no image, or their sizes differ.
    """
    tile, grey = _tile(rows, least)
    title, note = _writable(title), _writable(note)
    top, left, *below = (list(map(_short, texts)) for texts in (top, left, *below))
    worded = any((top, left, title, note, below))
    words, margin = _Words(tile[0]), MARGIN if worded else gap
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
    page = Image.new("L" if grey else "RGB", size, paper if grey else (paper,) * 3)
    words.write(page, title, margin, margin)
    words.write(page, note, margin, bottom, ink=PALE)
    for x, text in zip(xs, top, strict=False):
        words.write(page, text, x + room // 2, head, centred=True)
    for y, text in zip(ys, left, strict=False):
        words.write(page, text, margin, y + max(0, tile[1] - words.height(text)) // 2)
    for y, row in zip(ys, rows, strict=True):
        for x, cell in zip(xs, row, strict=False):
            if cell is not None:
                _paste(page, cell, (x + (room - tile[0]) // 2, y), tile, framed=worded)
    for y, line in zip(ys, below, strict=False):
        for x, text in zip(xs, line, strict=False):
            words.write(page, text, x + room // 2, y + tile[1], centred=True)
    return page


def abreast(side: int, label: str = "") -> int:
    """How many images of so many pixels a side, labelled like this, a sheet holds beside each
    other; below each other as well.
    """
    width = side * max(1, -(-LEAST // side))
    return max(1, WIDEST // (max(width, _Words(width).width(label)) + WIDE))


def beside(sheets: Sequence[Image.Image]) -> Image.Image:
    """Sheets from left to right on one page, their upper edges in line."""
    kind = "RGB" if any(part.mode == "RGB" for part in sheets) else "L"
    size = (sum(part.width for part in sheets), max(part.height for part in sheets))
    page, x = Image.new(kind, size, "white"), 0
    for part in sheets:
        page.paste(part, (x, 0))
        x += part.width
    return page


def animation(
    path: Path,
    frames: Sequence[Image.Image],
    milliseconds: int = 120,
    hold: int = 1500,
) -> None:
    """Write frames as a film that repeats for ever, a GIF (of 256 colours, the same in all frames)
    or a lossless WebP by the path's suffix; the file is whole or absent.

    milliseconds: of each frame; hold: of the last. Smaller frames get a white margin.
    """
    width, height = (max(size) for size in zip(*(frame.size for frame in frames), strict=True))
    shown = []
    for frame in frames:
        page = Image.new(frame.mode, (width, height), "white")
        page.paste(frame)
        shown.append(page)
    if path.suffix == ".gif" and any(page.mode == "RGB" for page in shown):
        shown = _in_one_palette(shown)
    times = [milliseconds] * (len(frames) - 1) + [hold]
    options = {"lossless": True, "method": 4} if path.suffix == ".webp" else {"disposal": 1}
    rest = shown[1:]
    image_files.save(
        shown[0], path, save_all=True, append_images=rest, duration=times, loop=0, **options
    )


def _in_one_palette(frames: Sequence[Image.Image]) -> list[Image.Image]:
    """RGB frames of one size in 256 colours, every pixel in the nearest one: among them GREYS, so
    that words keep their ink. The rest are those of up to 16 of the frames.
    """
    some = [np.asarray(frame.convert("RGB")) for frame in frames[:: -(-len(frames) // 16)]]
    stack = Image.fromarray(np.concatenate(some))
    few = stack.quantize(256 - len(GREYS), Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    chosen = np.array(few.getpalette(), dtype=np.uint8).reshape(-1, 3)
    greys = np.repeat(np.array(GREYS, dtype=np.uint8)[:, None], 3, axis=1)
    colours = torch.from_numpy(np.concatenate([greys, chosen])[:256])
    found = []
    for frame in frames:
        every = torch.from_numpy(np.array(frame.convert("RGB"))).flatten(0, 1)
        packed = every.long() @ torch.tensor([1 << 16, 1 << 8, 1])
        used, where = packed.unique(return_inverse=True)
        parts = torch.stack([used >> 16, used >> 8 & 255, used & 255], 1).float()
        nearest = torch.cdist(parts, colours.float(), compute_mode=EXACT).argmin(1).to(torch.uint8)
        page = Image.fromarray(nearest[where].view(frame.height, frame.width).numpy())
        page.putpalette(colours.flatten().tolist())  # it is of mode P from now on
        found.append(page)
    return found


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    """Of Latin, Greek and Cyrillic letters; matplotlib brings it along."""
    from matplotlib import get_data_path

    return ImageFont.truetype(Path(get_data_path(), "fonts", "ttf", "DejaVuSans.ttf"), size)


def _writable(text: str) -> str:
    """The text, with a mark for what no font can show; line breaks stay."""
    return "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text)


def _short(label: str) -> str:
    """The label with its long lines shortened in the middle: what files differ in is at the end."""
    keep = LONGEST - 1
    return "\n".join(
        line
        if len(line) <= LONGEST
        else f"{line[: keep // 2]}\N{HORIZONTAL ELLIPSIS}{line[-(keep - keep // 2) :]}"
        for line in _writable(label).split("\n")
    )


class _Words:
    """Text in the size that goes with images of a width; "" takes no place."""

    def __init__(self, width: int) -> None:
        size = min(max(SMALLEST, width // 8), LARGEST)
        self.font = _font(size)
        self.line = size + size // 4

    def width(self, text: str) -> int:
        longest = max(self.font.getlength(line) for line in text.split("\n"))
        return int(longest) + 1 + 2 * PAD if text else 0

    def height(self, text: str) -> int:
        return self.line * (text.count("\n") + 1) + 2 * PAD if text else 0

    def broken(self, text: str, width: int) -> str:
        """The text with line breaks instead of spaces, so that it is no wider where it can be."""
        done: list[str] = []
        for paragraph in text.split("\n"):
            line = ""
            for word in paragraph.split(" "):
                longer = f"{line} {word}" if line else word
                if line and self.width(longer) > width:
                    done.append(line)
                    longer = word
                line = longer
            done.append(line)
        return "\n".join(done)

    def write(
        self, page: Image.Image, text: str, x: int, y: int, ink: int = INK, centred: bool = False
    ) -> None:
        """Lines from (x, y) downwards, or centred about x."""
        pen, colour = ImageDraw.Draw(page), ink if page.mode == "L" else (ink,) * 3
        for number, line in enumerate(text.split("\n") if text else ()):
            place = (x if centred else x + PAD, y + PAD + self.line * number)
            pen.text(place, line, fill=colour, font=self.font, anchor="ma" if centred else "la")


def _tile(rows: Sequence[Sequence[Tensor | None]], least: int) -> tuple[tuple[int, int], bool]:
    """Width and height of an enlarged image, and whether all images are grey."""
    cells = [cell for row in rows for cell in row if cell is not None]
    if len({cell.shape[1:] for cell in cells}) != 1:
        raise ValueError("a sheet needs images, and all of one size")
    height, width = cells[0].shape[1:]
    factor = max(1, -(-least // width))
    return (width * factor, height * factor), all(cell.shape[0] < 3 for cell in cells)


def _places(
    sizes: Iterable[int], begin: int, gap: int, apart: Collection[int]
) -> tuple[list[int], int]:
    """Where things of these sizes begin one after the other, and where the last ends."""
    found, end = [], begin - gap
    for i, size in enumerate(sizes):
        found.append(end + gap * (WIDE if i in apart and i else 1))
        end = found[-1] + size
    return found, end


def _paste(
    page: Image.Image, cell: Tensor, place: tuple[int, int], size: tuple[int, int], framed: bool
) -> None:
    channels = {2: 1, 4: 3}.get(cell.shape[0], cell.shape[0])
    picture = image_files.to_picture(cell[:channels].cpu()).resize(size, Image.Resampling.NEAREST)
    if framed:  # so that white images do not run into the paper
        x, y = place
        corners = (x - 1, y - 1, x + size[0], y + size[1])
        ImageDraw.Draw(page).rectangle(corners, outline=EDGE if page.mode == "L" else (EDGE,) * 3)
    page.paste(picture, place)
