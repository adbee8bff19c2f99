"""Image data sets: uint8 images by index, kept in memory or decoded when they are fetched."""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from datasets.pixels import BAD_FILE, fit
from datasets.readers import Split

Indices = Sequence[int] | np.ndarray | Tensor


class DataConfig(Protocol):
    """Keys of the config's `data` section that this package reads."""

    @property
    def dataset(self) -> str:
        """Name in `datasets.SOURCES`; upper and lower case are the same."""

    @property
    def path(self) -> str | None:
        """Folder or zip; None for the data set's own folder below the root."""

    @property
    def options(self) -> Mapping[str, Any]:
        """Options of the source, such as LSUN's category."""

    @property
    def download(self) -> bool:
        """Whether what is missing may be fetched."""

    @property
    def test_path(self) -> str | None:
        """Folder or zip of held-out images, for any source."""

    @property
    def holdout(self) -> float:
        """Fraction in [0, 1) of images held out where the source has no test split."""

    @property
    def image_size(self) -> int:
        """Height and width in pixels."""

    @property
    def channels(self) -> int:
        """Number of channels."""

    @property
    def classes(self) -> bool | int:
        """Number of classes that a model is trained with; false: labels are not used."""

    @property
    def in_memory(self) -> bool | str:
        """Whether images are decoded into memory; "auto": where there is room."""


class Config(Protocol):
    """Config with a `data` section."""

    @property
    def data(self) -> DataConfig:
        """Section that this package reads."""


class ImageDataset(Dataset[tuple[Tensor, int]], ABC):
    """Square uint8 images with optional labels.

    name: of the data set; shape: (C, H, W) of every image; labels: int64 (N,) or None; classes:
    their names, or None; in_memory: whether the images are decoded already.
    As a torch Dataset its items are (uint8 (C, H, W), label), label -1 where there are none.
    """

    def __init__(
        self,
        name: str,
        shape: tuple[int, int, int],
        labels: Tensor | None,
        classes: list[str] | None,
        in_memory: bool,
    ):
        self.name = name
        self.shape = shape
        self.labels = labels
        self.classes = classes
        self.in_memory = in_memory

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def images(self, indices: Indices) -> Tensor:
        """Fetch the images at these indices: uint8 (n, C, H, W)."""

    @abstractmethod
    def fingerprint(self) -> str:
        """Hash the data (SHA-256, 64 hexadecimal digits): equal for equal data in equal form."""

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[tuple[Tensor, int]]:
        labels = [-1] * len(indices) if self.labels is None else self.labels[indices].tolist()
        return list(zip(self.images(indices), labels, strict=True))

    def _header(self) -> bytes:
        labels = None if self.labels is None else self.labels.tolist()
        return json.dumps([len(self), self.shape, labels]).encode()


class MemoryDataset(ImageDataset):
    """Images in one uint8 tensor (N, C, H, W). The fingerprint hashes every pixel and label."""

    def __init__(self, name: str, pixels: Tensor, labels: Tensor | None, classes: list[str] | None):
        channels, height, width = pixels.shape[1:]
        super().__init__(name, (channels, height, width), labels, classes, in_memory=True)
        self.pixels = pixels

    def __len__(self) -> int:
        return len(self.pixels)

    def images(self, indices: Indices) -> Tensor:
        """Copy the images at these indices."""
        # NumPy gathers rows several times faster than PyTorch's indexing
        return torch.from_numpy(self.pixels.numpy()[np.asarray(indices, dtype=np.int64)])

    @cached_property
    def _hash(self) -> str:
        total = hashlib.sha256(self._header())
        total.update(self.pixels.contiguous().numpy().data)
        return total.hexdigest()

    def fingerprint(self) -> str:
        """Hash size, labels and pixels."""
        return self._hash


class StreamDataset(ImageDataset):
    """Images that are decoded when they are fetched.

    The fingerprint decodes no image. It hashes the sorted list of names, sizes and CRC-32 (a zip's
    own; in a folder, of the first and last 4 KiB of each file), labels, crop and output shape.
    """

    def __init__(self, name: str, split: Split, size: int, channels: int):
        labels = None if split.labels is None else torch.from_numpy(split.labels)
        super().__init__(name, (channels, size, size), labels, split.classes, in_memory=False)
        self.split = split

    def __len__(self) -> int:
        return len(self.split.reader)

    def images(self, indices: Indices) -> Tensor:
        """Decode the images at these indices. Raises OSError that names a damaged file."""
        out = np.empty((len(indices), *self.shape), dtype=np.uint8)
        for row, index in enumerate(indices):
            out[row] = self._decoded(int(index))
        return torch.from_numpy(out)

    def _decoded(self, index: int) -> np.ndarray:
        reader = self.split.reader
        index = range(len(reader))[index]  # an IndexError beyond the end ends an iteration
        try:
            return fit(reader.read(index), self.shape[1], self.shape[0], self.split.box)
        except BAD_FILE as err:
            raise OSError(f"unreadable image {reader.name(index)}: {err}") from err

    @cached_property
    def _hash(self) -> str:
        total = hashlib.sha256(self._header())
        total.update(f"{self.split.box} {self.split.reader.digest()}".encode())
        return total.hexdigest()

    def fingerprint(self) -> str:
        """Hash shape, labels, crop and the reader's digest."""
        return self._hash
