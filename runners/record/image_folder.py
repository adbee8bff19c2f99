"""A folder of samples: `{index}.png`, each whole or absent, and the recipe that made them."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from configs.schema import ConfigError
from runners.record.files import move_aside, write_text
from runners.record.image_files import save, to_picture
from runners.record.recipe import Recipe

log = logging.getLogger("skip_step")

EXTRA = "extra"  # sub-folder of the images that a smaller number of samples does not have
AWAY = "name another folder with -i, or move this one aside with --overwrite"


class Writer:
    """Writes `{index}.png` into a folder from background threads, each file whole or not at all."""

    def __init__(self, folder: Path, threads: int = 4) -> None:
        self.folder = folder
        self.pool = ThreadPoolExecutor(threads)
        self.pending: list[Future[None]] = []

    def add(self, indices: Sequence[int], images: Tensor) -> None:
        """Queue uint8 images (n, C, H, W). Raises OSError where an earlier write failed."""
        self.flush()
        rows = zip(indices, images.cpu(), strict=True)
        self.pending = [self.pool.submit(self._write, i, image) for i, image in rows]

    def flush(self) -> None:
        """Wait for the queued files."""
        for future in self.pending:
            future.result()
        self.pending = []

    def close(self) -> None:
        """Finish the writes that have begun and drop the others."""
        self.pool.shutdown(cancel_futures=True)

    def _write(self, index: int, image: Tensor) -> None:
        save(to_picture(image), self.folder / f"{index}.png")


def read_back(folder: Path, indices: Sequence[int], shape: tuple[int, int, int]) -> Tensor:
    """Read the images of these indices, uint8 (n, C, H, W). Raises OSError for damaged files and
    for images of another shape than (C, H, W).
    """
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
    return {index for index in _indices(folder) if index < count}


def claim(folder: Path, recipe: Recipe, overwrite: bool = False) -> None:
    """Make the folder this recipe's own, or find that it is already. overwrite: move another one
    aside first.

    Raises ConfigError where it holds images of another recipe, or of unknown origin.
    """
    if overwrite and folder.exists():
        move_aside(folder)
    marker = folder / "samples.json"
    if marker.exists():
        differing = _differing(marker, recipe)
        if differing:
            raise ConfigError(f"{folder} holds samples made otherwise ({differing}); {AWAY}")
    elif folder.exists() and any(folder.glob("*.png")):
        raise ConfigError(f"{folder} holds images of unknown origin; {AWAY}")
    else:
        write_text(marker, json.dumps({"recipe": recipe.to_json()}, indent=1) + "\n")


@contextmanager
def claimed(folder: Path, recipe: Recipe, overwrite: bool = False) -> Iterator[None]:
    """Claim the folder for a block. A new folder goes where the block fails before its first file.

    The block includes the claim: a signal may arrive right after the folder is made.
    """
    new = overwrite or not (folder / "samples.json").exists()
    try:
        claim(folder, recipe, overwrite)
        yield
    except BaseException:
        if new and folder.is_dir() and [path.name for path in folder.iterdir()] == ["samples.json"]:
            (folder / "samples.json").unlink()
            folder.rmdir()
        raise


def keep_first(folder: Path, count: int) -> None:
    """Move images of index `count` and above into FOLDER/extra, and take back those below it.

    Image i is the same whatever the number of samples, so none is deleted and none drawn twice.
    """
    extra = folder / EXTRA
    beyond = [index for index in _indices(folder) if index >= count]
    back = [i for i in existing(extra, count) if not (folder / f"{i}.png").exists()]
    if beyond:
        extra.mkdir(exist_ok=True)
        log.info("%d images beyond the %d wanted moved to %s", len(beyond), count, extra)
    if back:
        log.info("%d images taken back from %s", len(back), extra)
    for indices, source, target in ((beyond, folder, extra), (back, extra, folder)):
        for index in indices:
            (source / f"{index}.png").replace(target / f"{index}.png")


def _differing(marker: Path, recipe: Recipe) -> str:
    """Say what the folder's recipe and this one do not share, "" where they are the same."""
    try:
        held = json.loads(marker.read_text(encoding="utf-8"))
    except ValueError as err:
        raise OSError(f"{marker}: not readable as JSON ({err})") from err
    try:
        return "; ".join(Recipe.from_json(held).differs(recipe))
    except ValueError as err:
        return f"{marker.name}: {err}"


def _indices(folder: Path) -> list[int]:
    names = (path.stem for path in folder.glob("*.png"))
    return [int(n) for n in names if n.isascii() and n.isdigit() and str(int(n)) == n]
