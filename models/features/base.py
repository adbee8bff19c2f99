"""Interface of the feature extractors, and the rules that all of them follow."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor


class Extractor(Protocol):
    """A fixed network from images to features.

    Never in training mode, and never under autocast or TF32: the result for an image is the same,
    up to float32 rounding, in every batch.

    name: "inception" for the published weights only, because figures are called FID by it;
    dim: number of features; hash: SHA-256 of the weights.
    """

    name: str
    dim: int
    hash: str

    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Compute features (n, dim), float32, and class logits (n, K) or None.

        images: uint8 (n, C, H, W) on any device; the results are on the extractor's own. Raises
        ValueError for another dtype or shape.
        """
        ...


class Images(Protocol):
    """Data set as an extractor may use it, such as `datasets.ImageDataset`.

    labels: (n,) integers, or None.
    """

    name: str
    labels: Tensor | None

    def __len__(self) -> int:
        """Count the images."""
        ...

    def images(self, indices: range) -> Tensor:
        """Fetch images: uint8 (n, C, H, W)."""
        ...


@contextmanager
def exact(device: torch.device) -> Iterator[None]:
    """Compute without gradients, autocast and TF32, which training may have switched on."""
    cudnn: Any = torch.backends.cudnn
    switches = (cudnn.conv, torch.backends.cuda.matmul)
    before = [switch.fp32_precision for switch in switches]
    try:
        for switch in switches:
            switch.fp32_precision = "ieee"
        with torch.no_grad(), torch.autocast(device.type, enabled=False):
            yield
    finally:
        for switch, value in zip(switches, before, strict=True):
            switch.fp32_precision = value


def require_images(images: Tensor, channels: tuple[int, ...]) -> None:
    """Check that images are uint8 (n, C, H, W) with one of these numbers of channels."""
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] not in channels:
        wanted = " or ".join(map(str, channels))
        raise ValueError(
            f"expected uint8 images (n, {wanted}, H, W), got {images.dtype} {tuple(images.shape)}"
        )
