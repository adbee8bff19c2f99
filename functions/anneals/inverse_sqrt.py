"""The anneal of EDM2."""

import math

from configs.parts import require
from configs.values import Quantity
from functions.parts import ANNEALS


@ANNEALS.part(title="inverse square root of the images", paper="2312.02696", to_the_end=False)
def inverse_sqrt(images: float, total: float, ref: Quantity) -> float:
    """Hold 1 for `ref` images, then fall as sqrt(ref / images) (2312.02696, appendix B).

    images: seen before the update. The length of the training, total, has no part in it. Raises
    ValueError for a ref out of range.
    """
    require(ANNEALS.parts["inverse_sqrt"], ref=ref)
    return 1 / math.sqrt(max(images / ref, 1.0))
