"""A folder of samples: `{index}.png`, each whole or absent, and the settings that made them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from configs.schema import ConfigError
from runners.record.run_folder import write_text


class Writer:
    """Writes `{index}.png` into a folder from background threads, each file whole or not at all."""

    def __init__(self, folder: Path, threads: int = 4) -> None:
        self.folder = folder
        self.pool = ThreadPoolExecutor(threads)
        self.pending: list[Future[None]] = []

    def add(self, indices: Sequence[int], images: Tensor) -> None:
        """Queue uint8 images (n, C, H, W); raises what an earlier write raised, a full disk say."""
        self.flush()
        rows = zip(indices, images.cpu(), strict=True)
        self.pending = [self.pool.submit(self._write, i, image) for i, image in rows]

    def flush(self) -> None:
        """Wait for the queued files."""
        for future in self.pending:
            future.result()
        self.pending = []

    def close(self) -> None:
        """Finish or, after an error, abandon what is queued."""
        self.pool.shutdown(cancel_futures=True)

    def _write(self, index: int, image: Tensor) -> None:
        save(to_picture(image), self.folder / f"{index}.png")


def save(picture: Image.Image, path: Path, **options: Any) -> None:
    """Write a picture in the format of the path's suffix, whole or not at all; options: Pillow's.

    Folders are made where they are missing.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.tmp")
    try:
        picture.save(temporary, format=path.suffix[1:].upper(), **options)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def to_picture(image: Tensor) -> Image.Image:
    """A uint8 image (C, H, W) of 1, 2, 3 or 4 channels as a Pillow image."""
    array = image.permute(1, 2, 0).numpy()
    if array.shape[2] not in (1, 2, 3, 4):
        raise ValueError(f"a PNG has 1 to 4 channels, these images have {array.shape[2]}")
    return Image.fromarray(array[..., 0] if array.shape[2] == 1 else array)


def pixels(picture: Image.Image) -> Tensor:
    """A picture of 8 bits a channel as uint8 (C, H, W): `to_picture` undone."""
    array = np.array(picture)
    return torch.from_numpy(array if array.ndim == 3 else array[..., None]).permute(2, 0, 1)


def read_back(folder: Path, indices: Sequence[int], shape: tuple[int, int, int]) -> Tensor:
    """The images of these indices from their files, uint8 (n, C, H, W)."""
    images = []
    for index in indices:
        path = folder / f"{index}.png"
        try:
            array = np.asarray(Image.open(path))
        except (OSError, SyntaxError) as err:
            raise OSError(f"{path}: unreadable ({err}); delete it and run again") from err
        array = array[None] if array.ndim == 2 else array.transpose(2, 0, 1)
        if array.shape != shape:
            raise OSError(f"{path}: {array.shape} instead of {shape}; another program's image?")
        images.append(torch.from_numpy(array.copy()))
    return torch.stack(images)


def existing(folder: Path, count: int) -> set[int]:
    """Indices below `count` whose image is in the folder."""
    names = (p.stem for p in folder.glob("*.png"))
    return {int(n) for n in names if n.isascii() and n.isdigit() and str(int(n)) == n} & set(
        range(count)
    )


def claim(folder: Path, identity: dict[str, Any]) -> None:
    """Make the folder this sampling's own, or find that it is already.

    Raises ConfigError where it holds images of other settings, or images of unknown origin.
    """
    marker = folder / "samples.json"
    if marker.exists():
        try:
            held = json.loads(marker.read_text(encoding="utf-8"))
        except ValueError as err:
            raise OSError(f"{marker}: not readable as JSON ({err})") from err
        # weights is a path, and their hash says which they are; sampler says what sample_type is
        keys = sorted((held.keys() | identity.keys()) - {"weights", "sample_type"})
        differing = [k for k in keys if held.get(k) != identity.get(k)]
        if differing:
            pairs = "; ".join(f"{k} {held.get(k)}, now {identity.get(k)}" for k in differing)
            raise ConfigError(
                f"{folder} holds samples made otherwise ({pairs}); name another folder with -i, or "
                "move this one aside with --overwrite"
            )
    elif folder.exists() and any(folder.glob("*.png")):
        raise ConfigError(
            f"{folder} holds images of unknown origin; name another folder with -i, or move this "
            "one aside with --overwrite"
        )
    else:
        write_text(marker, json.dumps(identity, indent=1) + "\n")


def release(folder: Path) -> None:
    """Undo a claim where nothing came of it."""
    if [path.name for path in folder.iterdir()] == ["samples.json"]:
        (folder / "samples.json").unlink()
        folder.rmdir()
