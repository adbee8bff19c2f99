"""DIGITS: the 1,797 handwritten digits, 8x8 grey, that scikit-learn carries. Nothing to fetch."""

from pathlib import Path

import numpy as np

from datasets.base import DataConfig
from datasets.readers import ArrayReader, Split, Splits


def digits(data: DataConfig, path: Path) -> Splits:
    """All digits as one split; their 17 levels 0..16 become round(level * 255 / 16)."""
    from sklearn.datasets import load_digits  # takes a second to import

    bunch = load_digits()
    pixels = np.rint(bunch.images * (255 / 16)).astype(np.uint8)
    labels = bunch.target.astype(np.int64)
    return Split(ArrayReader(pixels, "digits"), labels, [str(i) for i in range(10)]), None
