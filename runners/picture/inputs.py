"""Images and masks given by path: read, and refused in one line where they do not fit."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from annotated_types import Gt, Lt
from PIL import Image
from torch import Tensor

from configs import values
from configs.schema import Config, ConfigError
from configs.schema.sections import Data
from datasets.pixels import BAD_FILE, MODES, Picture, decode, describe
from datasets.sources.folder import EXTENSIONS
from datasets.transforms import to_model
from runners.machine.seeds import mixed_seed

BRUSH = ("1", "L", "LA", "P", "RGB", "RGBA")  # the modes a mask may have
WHITE = 128  # the darkest grey that counts as white
IMAGE_HELP = "files or folders of images of the model's size"
MASK_HELP = "center, half, random:P, or an image file of the model's size: white is filled"


@dataclass(frozen=True)
class Input:
    """An image of the model's size. name: what its results are called, different for every input;
    pixels: uint8 (C, H, W); sha256: of its file.
    """

    name: str
    path: Path
    pixels: Tensor
    sha256: str


def read_images(paths: Iterable[Path], data: Data, taken: str = "") -> list[Input]:
    """Read the images of files and folders (those directly inside and not hidden, 2.png before
    10.png).

    taken: a name that no input may have, that of the sheet.
    Raises ConfigError for a missing path, a folder without images, and an image whose size or
    channels are not the model's; OSError for a file that cannot be read.
    """
    files = [file for path in paths for file in _files(path)]
    names = [file.stem for file in files]
    if len({name.lower() for name in [*names, taken]}) <= len(names):
        names = [f"{i}_{name}" for i, name in enumerate(names)]
    found = []
    for name, file in zip(names, files, strict=True):
        raw, picture = _read(file)
        found.append(Input(name, file, _pixels(file, picture, data), _digest(raw)))
    return found


def record(inputs: Sequence[Input]) -> list[dict[str, str]]:
    """Identify images by name and SHA-256, for samples.json."""
    return [{"name": image.name, "sha256": image.sha256} for image in inputs]


def to_data(inputs: Sequence[Input], config: Config) -> Tensor:
    """Turn images into data, float32 (n, C, H, W) on the CPU; the noise of dequantization follows
    from the config's seed and the position.
    """
    images = []
    for i, image in enumerate(inputs):
        generator = torch.Generator().manual_seed(mixed_seed(config.seed, i, 1))
        images.append(to_model(image.pixels, config.data, generator))
    return torch.stack(images)


def check_mask(text: str) -> None:
    """Check what can be checked without reading a file. Raises ValueError."""
    name, _, share = text.partition(":")
    if name == "random":
        try:
            values.read(Annotated[float, Gt(0), Lt(1)], share)
        except ValueError:
            text = f"--mask {text}: should be random:P with P between 0 and 1"
            raise ValueError(text) from None


def read_mask(text: str, config: Config) -> tuple[Tensor, dict[str, Any]]:
    """Read the hole, bool (H, W), True where it is to be filled, and its identity for samples.json.

    text: `center` (the square in the middle with half the side), `half` (the right one), `random:P`
    (that share of the pixels, by the seed), or an image file of the model's size whose white pixels
    (grey 128 and above) are to be filled. Raises ConfigError for a missing file, one of another
    size, in colour or transparent, and for a mask that hides nothing or everything; OSError for a
    file that cannot be read.
    """
    size, (name, _, share) = config.data.image_size, text.partition(":")
    hole, told = torch.zeros(size, size, dtype=torch.bool), dict[str, Any](mask=text)
    if text == "center":
        edge = size // 4
        hole[edge : size - edge, edge : size - edge] = True
    elif text == "half":
        hole[:, size // 2 :] = True
    elif name == "random":
        generator = torch.Generator().manual_seed(mixed_seed(config.seed, 0, 2))
        order = torch.randperm(size * size, generator=generator)
        hole.view(-1)[order[: round(float(share) * size * size)]] = True
    else:
        path = Path(text)
        if not path.is_file():
            raise ConfigError(f"--mask {text}: should be center, half, random:P or an image file")
        raw, picture = _read(path)
        hole, told = _brushed(path, picture, size), {"mask": {"sha256": _digest(raw)}}
    if not hole.any():
        raise ConfigError(f"--mask {text}: hides no pixel; white is filled, black is kept")
    if hole.all():
        raise ConfigError(
            f"--mask {text}: hides every pixel, nothing is known; --images draws whole images"
        )
    return hole, told


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        inside = [p for p in path.iterdir() if _is_image(p)]
        if not inside:
            raise ConfigError(f"--image {path}: no images in it, no file ends in one of {_ENDS}")
        return sorted(inside, key=lambda p: [_natural(w) for w in re.split(r"(\d+)", p.name)])
    if not path.is_file():
        raise ConfigError(f"--image {path}: no such file or folder")
    return [path]


def _is_image(path: Path) -> bool:
    """Tell an image by its suffix. Hidden files are none: systems leave their own beside images."""
    hidden = path.name.startswith(".")
    return not hidden and path.suffix.lower() in EXTENSIONS and path.is_file()


_ENDS = " ".join(EXTENSIONS)


def _natural(word: str) -> tuple[int, str]:
    return (int(word), word) if word.isdecimal() else (-1, word)


def _read(path: Path) -> tuple[bytes, Picture]:
    try:
        raw = path.read_bytes()
        return raw, decode(raw, path.name)
    except BAD_FILE as err:
        reason = (
            "is no image that can be read" if isinstance(err, Image.UnidentifiedImageError) else err
        )
        raise OSError(f"{path}: {reason}") from err


def _digest(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()


def _pixels(path: Path, picture: Picture, data: Data) -> Tensor:
    """Pixels of a picture, uint8 (C, H, W). Raises ConfigError where the model draws others."""
    size, channels = data.image_size, data.channels
    mode, width, height = describe(picture)
    wanted = MODES.get(channels, f"{channels} channels")
    array = np.atleast_3d(np.asarray(picture))
    fits = array.shape == (size, size, channels) and array.dtype == np.uint8
    if not fits or (isinstance(picture, Image.Image) and mode != wanted):
        raise ConfigError(
            f"{path}: {width}x{height} pixels, {mode}; this model draws {size}x{size}, {wanted}"
        )
    return torch.from_numpy(array.transpose(2, 0, 1).copy())


def _brushed(path: Path, picture: Picture, size: int) -> Tensor:
    """White pixels of a mask, bool (H, W)."""
    mode, width, height = describe(picture)
    if (width, height) != (size, size):
        raise ConfigError(f"{path}: {width}x{height} pixels; a mask here has {size}x{size}")
    if not isinstance(picture, Image.Image) or mode not in BRUSH:
        raise ConfigError(f"{path}: {mode}; a mask is black and white: {', '.join(BRUSH)}")
    array = np.asarray(picture.convert("RGBA"))
    if array[..., 3].min() < 255:
        raise ConfigError(f"{path}: has transparent pixels; paint a mask white on black")
    if np.ptp(array[..., :3].astype(np.int64), axis=2).max():
        raise ConfigError(f"{path}: is coloured; paint a mask white on black")
    return torch.from_numpy(array[..., 0] >= WHITE)
