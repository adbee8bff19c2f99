"""Anneals that reach 0 at the end of the training."""

import math

from functions.parts import ANNEALS


@ANNEALS.part(title="linear to 0 at the end", paper="2102.09672", to_the_end=True)
def linear(images: float, total: float) -> float:
    """Fall from 1 to 0 along a line: lr_anneal_steps in the code of 2102.09672.

    images: seen before the update, from 0 to total; total: of the whole training, inf for one
    without end, which is never annealed.
    """
    return max(0.0, 1 - images / total)


@ANNEALS.part(title="half a cosine to 0 at the end", paper="1608.03983", to_the_end=True)
def cosine(images: float, total: float) -> float:
    """Fall from 1 to 0 along half a cosine (1608.03983, eq. 5, one period). See `linear`."""
    return 0.5 + 0.5 * math.cos(math.pi * min(1.0, images / total))
