"""Squared error that losses share."""

from __future__ import annotations

from torch import Tensor


def squared_error(a: Tensor, b: Tensor) -> Tensor:
    """Mean squared difference of each sample, (B,). Raises ValueError for unequal shapes, which
    would otherwise be broadcast.
    """
    if a.shape != b.shape:
        raise ValueError(
            f"a loss compares tensors of one shape, not {tuple(a.shape)} with {tuple(b.shape)}"
        )
    return (a - b).square().flatten(1).mean(1)
