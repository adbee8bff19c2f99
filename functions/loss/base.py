"""The error that losses compare."""

from __future__ import annotations

from torch import Tensor


def mse(answer: Tensor, target: Tensor) -> Tensor:
    """Mean squared error over the pixels of each sample: (B,) of two tensors (B, ...).

    Raises ValueError for shapes that differ: broadcasting would train on something else.
    """
    if answer.shape != target.shape:
        raise ValueError(
            f"the network answers {tuple(answer.shape)} where the loss compares with "
            f"{tuple(target.shape)}"
        )
    return (answer - target).square().flatten(1).mean(1)
