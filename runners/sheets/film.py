"""Films: sheets one after the other, as a GIF or a WebP."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from runners.record import image_files
from runners.sheets.sheet import EDGE
from runners.sheets.words import PALE

GREYS = sorted({*range(0, 256, 17), PALE, EDGE})  # that every palette has, for words and lines
EXACT = "donot_use_mm_for_euclid_dist"  # of torch.cdist


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
        canvas = Image.new(frame.mode, (width, height), "white")
        canvas.paste(frame)
        shown.append(canvas)
    if path.suffix == ".gif" and any(canvas.mode == "RGB" for canvas in shown):
        shown = _in_one_palette(shown)
    times = [milliseconds] * (len(frames) - 1) + [hold]
    options = {"lossless": True, "method": 4} if path.suffix == ".webp" else {"disposal": 1}
    rest = shown[1:]
    image_files.save(
        shown[0], path, save_all=True, append_images=rest, duration=times, loop=0, **options
    )


def _in_one_palette(frames: Sequence[Image.Image]) -> list[Image.Image]:
    """Quantise RGB frames of one size to 256 colours, every pixel to the nearest one: GREYS, so
    that words keep their ink, and colours of up to 16 of the frames.
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
        reduced = Image.fromarray(nearest[where].view(frame.height, frame.width).numpy())
        reduced.putpalette(colours.flatten().tolist())  # it is of mode P from now on
        found.append(reduced)
    return found
