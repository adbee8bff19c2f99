"""Readers of the single images of a split, and the split: images, labels, classes and a crop."""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from datasets.files import Files
from datasets.pixels import Box, Picture, decode


class Reader(Protocol):
    """Images by index; picklable, and usable in forked and spawned processes."""

    def __len__(self) -> int:
        """Count the images."""

    def name(self, index: int) -> str:
        """Name an image, for messages."""

    def read(self, index: int) -> Picture:
        """Read and decode one image. Raises one of `pixels.BAD_FILE` where it is damaged."""

    def digest(self) -> str:
        """Hash names, sizes and quick checksums in the order of the images."""


@dataclass(frozen=True)
class Split:
    """One split of a source. labels: int64 (N,); classes: their names; box: the crop."""

    reader: Reader
    labels: np.ndarray | None = None
    classes: list[str] | None = None
    box: Box | None = None

    def take(self, indices: np.ndarray) -> "Split":
        """Make the split of these images only, in this order."""
        labels = None if self.labels is None else self.labels[indices]
        return replace(self, reader=Picked(self.reader, indices), labels=labels)


Splits = tuple[Split, Split | None]  # training, held out


class ArrayReader:
    """Images of a uint8 array (N, H, W) or (N, H, W, C)."""

    def __init__(self, images: np.ndarray, title: str):
        self.images = images
        self.title = title

    def __len__(self) -> int:
        return len(self.images)

    def name(self, index: int) -> str:
        """Name an image `title[index]`."""
        return f"{self.title}[{index}]"

    def read(self, index: int) -> Picture:
        """Give one array (H, W) or (H, W, C)."""
        return self.images[index]

    def digest(self) -> str:
        """Hash all pixels."""
        return hashlib.sha256(np.ascontiguousarray(self.images).data).hexdigest()


class FileReader:
    """Images of named files in a folder or a zip."""

    def __init__(self, files: Files, names: Sequence[str]):
        self.files = files
        self.names = list(names)

    def __len__(self) -> int:
        return len(self.names)

    def name(self, index: int) -> str:
        """Name an image by the path of the folder or zip and its name in it."""
        return os.fspath(self.files.path / self.names[index])

    def read(self, index: int) -> Picture:
        """Read and decode one file."""
        name = self.names[index]
        return decode(self.files.read(name), name)

    def digest(self) -> str:
        """Hash the list of names and stamps (`Files.stamp`)."""
        total = hashlib.sha256()
        for name in self.names:
            total.update(f"{name}\0{self.files.stamp(name)}\n".encode())
        return total.hexdigest()


class Picked:
    """Some images of another reader."""

    def __init__(self, reader: Reader, indices: np.ndarray):
        self.reader = reader
        self.indices = np.asarray(indices, dtype=np.int64)

    def __len__(self) -> int:
        return len(self.indices)

    def name(self, index: int) -> str:
        """Name an image as the other reader does."""
        return self.reader.name(int(self.indices[index]))

    def read(self, index: int) -> Picture:
        """Read and decode one image."""
        return self.reader.read(int(self.indices[index]))

    def digest(self) -> str:
        """Hash the other reader's digest and the indices."""
        return hashlib.sha256(self.reader.digest().encode() + self.indices.tobytes()).hexdigest()
