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
from runners.record.files import write_text
from runners.record.image_files import save, to_picture


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
