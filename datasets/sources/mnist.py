"""MNIST: 60,000 training and 10,000 test images of 10 digits, 28x28 grey."""

from pathlib import Path

from datasets.parts import SOURCES
from datasets.readers import Splits
from datasets.sources.vision import read_arrays

PUT = (
    "the four train-/t10k- files (*-ubyte, https://yann.lecun.org/exdb/mnist), gunzipped, "
    "in MNIST/raw"
)


@SOURCES.part("MNIST", title="MNIST", paper="", size=28, channels=1, labels="yes", classes=10)
def mnist(path: Path, download: bool) -> Splits:
    """Read the official training and test images."""
    return read_arrays("MNIST", PUT, path, download)
