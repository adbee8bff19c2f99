"""Pictures for people: images as a grid, grids beside each other under their titles."""

from __future__ import annotations

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from runners.imagedir import to_picture


def grid(images: Tensor, columns: int, least: int = 0, gap: int = 1, paper: int = 255) -> Tensor:
    """Images (n, C, H, W) uint8 row by row on one sheet (C', h, w).

    Small images are enlarged by a whole factor, pixels repeated and never blurred, until one is at
    least `least` pixels wide; gap: pixels of `paper` grey between them, before enlarging.
    """
    if images.shape[1] not in (1, 3):
        images = images[:, :1] if images.shape[1] == 2 else images[:, :3]
    n, channels, height, width = images.shape
    rows = -(-n // columns)
    sheet = torch.full(
        (channels, rows * (height + gap) + gap, columns * (width + gap) + gap), paper
    ).to(torch.uint8)
    for i, image in enumerate(images.cpu()):
        top = gap + i // columns * (height + gap)
        left = gap + i % columns * (width + gap)
        sheet[:, top : top + height, left : left + width] = image
    factor = max(1, -(-least // width))
    return sheet.repeat_interleave(factor, 1).repeat_interleave(factor, 2)


def panels(sheets: dict[str, Tensor], margin: int = 12) -> Image.Image:
    """Sheets (C, h, w) side by side under their titles, black on white."""
    pictures = {title: to_picture(sheet).convert("RGB") for title, sheet in sheets.items()}
    font = ImageFont.load_default(size=18)
    head = 18 + 2 * margin
    width = sum(p.width for p in pictures.values()) + margin * (len(pictures) + 1)
    height = max(p.height for p in pictures.values()) + head + margin
    page = Image.new("RGB", (width, height), "white")
    left = margin
    for title, picture in pictures.items():
        ImageDraw.Draw(page).text((left, margin), title, fill="black", font=font)
        page.paste(picture, (left, head))
        left += picture.width + margin
    return page
