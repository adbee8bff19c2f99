"""Factors on the predicted noise."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

Scale = Callable[[Tensor], Tensor]
