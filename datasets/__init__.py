"""Images of a config's data set.

`get_dataset(config)` opens the training and the held-out images; `loader.batches` iterates over
them in a reproducible order; `transforms` scales uint8 to [-1, 1] and back; `check` reports on
every file.
"""

from pathlib import Path

import torch

from datasets.base import Config, ImageDataset, MemoryDataset, StreamDataset
from datasets.check import Report, check, inspect
from datasets.memory import decode_all, fits_in_memory
from datasets.readers import Split
from datasets.sources import ROOT, SOURCES, find_splits, source_name


def get_dataset(config: Config, root: Path = ROOT) -> tuple[ImageDataset, ImageDataset | None]:
    """Open the training and the held-out images (None: the source has none and holdout is 0).

    Reads `config.data` only. Images are resized and centre-cropped to `image_size` pixels and
    `channels` channels. They are decoded into memory now if `in_memory` is true, or "auto" and
    both splits fit (`memory.fits_in_memory`); else each time they are fetched.

    Raises FileNotFoundError that says what to put where, OSError that names unreadable images, and
    ValueError for a wrong option.
    """
    data = config.data
    train, test = find_splits(config, root)
    splits = [split for split in (train, test) if split is not None]
    keep = data.in_memory
    if keep == "auto":
        total = sum(len(split.reader) for split in splits) * data.channels * data.image_size**2
        keep = fits_in_memory(total)
    made = [_made(split, config, bool(keep)) for split in splits]
    return made[0], made[1] if test is not None else None


def _made(split: Split, config: Config, keep: bool) -> ImageDataset:
    data = config.data
    name = source_name(data)
    if not keep:
        return StreamDataset(name, split, data.image_size, data.channels)
    pixels = decode_all(split, data.image_size, data.channels, name)
    labels = None if split.labels is None else torch.from_numpy(split.labels)
    return MemoryDataset(name, pixels, labels, split.classes)
