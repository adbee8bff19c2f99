"""Single image files, each whole or absent, and tensors as pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor


def save(picture: Image.Image, path: Path, **options: Any) -> None:
    """Write a picture in the format of the path's suffix, whole or not at all. Makes its folder.

    options: Pillow's, for this format.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.tmp")
    try:
        picture.save(temporary, format=path.suffix[1:].upper(), **options)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def to_picture(image: Tensor) -> Image.Image:
    """Convert a uint8 image (C, H, W) with 1 to 4 channels to a Pillow image."""
    array = image.permute(1, 2, 0).numpy()
    if array.shape[2] not in (1, 2, 3, 4):
        raise ValueError(f"a PNG has 1 to 4 channels, these images have {array.shape[2]}")
    return Image.fromarray(array[..., 0] if array.shape[2] == 1 else array)


def pixels(picture: Image.Image) -> Tensor:
    """Convert a Pillow image of 8 bits a channel to uint8 (C, H, W), as `to_picture` back."""
    array = np.array(picture)
    return torch.from_numpy(array if array.ndim == 3 else array[..., None]).permute(2, 0, 1)
