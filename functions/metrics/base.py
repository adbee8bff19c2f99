"""Input of a metric: the images it is asked about and the real ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor

from functions.metrics.moments import Moments

T = TypeVar("T")


class Reference(Protocol):
    """Statistics of real images: n of them, mean (D,) and covariance (D, D) in float64, features
    (m, D) of the first m.
    """

    @property
    def n(self) -> int: ...

    @property
    def mean(self) -> Tensor: ...

    @property
    def cov(self) -> Tensor: ...

    @property
    def features(self) -> Tensor: ...


@dataclass(frozen=True, eq=False)
class Seen:
    """Images that a metric is asked about.

    features: (n, D). logits: class logits (n, K), None where the extractor has none. real: the real
    images. device: where a metric may do heavy work.
    """

    features: Tensor
    logits: Tensor | None
    real: Reference
    device: torch.device | str = "cpu"
    _known: dict[Callable[..., Any], Any] = field(default_factory=dict, init=False, repr=False)

    @cached_property
    def moments(self) -> Moments:
        """Mean and covariance of the features."""
        return Moments().add(self.features)

    def once(self, compute: Callable[[Seen], T]) -> T:
        """compute(self), computed once for all metrics that ask for it."""
        if compute not in self._known:
            self._known[compute] = compute(self)
        return self._known[compute]
