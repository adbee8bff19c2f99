"""DIGITS: 1,797 handwritten digits, 8x8 grey, which scikit-learn has with it."""

from pathlib import Path

import numpy as np

from datasets.parts import SOURCES
from datasets.readers import ArrayReader, Split, Splits


@SOURCES.part(
    "DIGITS", title="handwritten digits", paper="", size=8, channels=1, labels="yes", classes=10
)
def digits(path: Path, download: bool) -> Splits:
    """Read all digits as one split; their levels 0 to 16 become round(level * 255 / 16)."""
    from sklearn.datasets import load_digits  # takes a second to import

    bunch = load_digits()
    pixels = np.rint(bunch.images * (255 / 16)).astype(np.uint8)
    labels = bunch.target.astype(np.int64)
    return Split(ArrayReader(pixels, "digits"), labels, [str(i) for i in range(10)]), None
