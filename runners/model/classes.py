"""Classes of a conditional model: labels of its training images, and labels asked of samples."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from configs.schema import Config, ConfigError
from datasets import ImageDataset


def labels_of(classes: Sequence[int], indices: Sequence[int]) -> Tensor:
    """Labels of the samples of these indices, int64 (n,): image i is of class i mod n of n classes.

    So the label of an image is a function of its index, whatever batch it is drawn in.
    """
    return torch.tensor([classes[i % len(classes)] for i in indices], dtype=torch.int64)


def told_labels(
    config: Config, dataset: ImageDataset, indices: Sequence[int], device: torch.device
) -> Tensor | None:
    """Labels of these images as the network is told them, int64 (n,); None without classes.
    Raises ConfigError as `require_labels` does.
    """
    if not config.data.classes:
        return None
    require_labels(config, dataset)
    assert dataset.labels is not None
    return dataset.labels[list(indices)].to(device)


def require_labels(config: Config, *splits: ImageDataset | None) -> None:
    """Check that images (None: there is no such split) have the classes that `data.classes` says,
    where the config trains with labels. Raises ConfigError with one line.
    """
    if not (count := config.data.classes):
        return
    for split in filter(None, splits):
        if split.labels is None:
            raise ConfigError(
                f"data.classes: {count} asks for labels, and the images of {split.name} have none; "
                "put each class into a sub-folder of its own, or leave data.classes out"
            )
        found = len(split.classes or ()) or int(split.labels.max()) + 1
        if found != count:
            raise ConfigError(
                f"data.classes: {count} does not fit {split.name}, which has {found} classes; it "
                f"should be {found}"
            )
