"""Features of samples and of real images, as metrics see them."""

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import torch
from torch import Tensor


class Reference(Protocol):
    """Statistics of the real images: n of them, mean (D,) and covariance (D, D) in float64, and the
    features (m, D) of the first m.
    """

    @property
    def n(self) -> int:
        """Number of real images."""

    @property
    def mean(self) -> Tensor:
        """Mean of their features."""

    @property
    def cov(self) -> Tensor:
        """Covariance of their features."""

    @property
    def features(self) -> Tensor:
        """Features of the first of them."""


@dataclass(frozen=True)
class Seen:
    """Samples and real images in the eyes of a feature extractor.

    features: of the samples (n, D), float32, on the CPU; logits: (n, K), None where the extractor
    gives none; real: of the real images; device: where large products may be computed.
    """

    features: Tensor
    logits: Tensor | None
    real: Reference
    device: torch.device = torch.device("cpu")

    @cached_property
    def precision_recall(self) -> tuple[float, float]:
        """Precision and recall, computed once for both metrics."""
        from functions.metrics.precision_recall import precision_recall

        real, own = (part.to(self.device) for part in (self.real.features, self.features))
        return precision_recall(real, own)


def pair(first: Tensor, second: Tensor, least: int) -> tuple[np.ndarray, np.ndarray]:
    """Two sets of features as arrays. Raises ValueError where they are no such sets."""
    check_features(first, "first features", least)
    check_features(second, "second features", least)
    if first.shape[1] != second.shape[1]:
        raise ValueError(f"features differ in size: {first.shape[1]} and {second.shape[1]}")
    return first.detach().cpu().numpy(), second.detach().cpu().numpy()


def check_features(x: Tensor, what: str, least: int) -> None:
    """Refuse what is not (n, D), finite, with n at least `least`. Raises ValueError."""
    if x.ndim != 2 or x.dtype not in (torch.float32, torch.float64):
        raise ValueError(f"{what}: expected float32 or float64 (n, D), got {x.dtype} {x.shape}")
    if len(x) < least:
        raise ValueError(f"{what}: at least {least} samples needed, got {len(x)}")
    if bad := int((~x.isfinite()).any(1).sum()):
        raise ValueError(f"{what}: {bad} of {len(x)} rows hold NaN or infinity")
