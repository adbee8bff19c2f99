"""CIFAR10: 50,000 training and 10,000 test images of 10 classes, 32x32 RGB."""

from pathlib import Path

from datasets.parts import SOURCES
from datasets.readers import Splits
from datasets.sources.vision import read_arrays

PUT = (
    "cifar-10-python.tar.gz (https://www.cs.toronto.edu/~kriz/cifar.html) and unpack it to "
    "cifar-10-batches-py"
)


@SOURCES.part(
    "CIFAR10",
    title="CIFAR-10",
    paper="",
    size=32,
    channels=3,
    labels="yes",
    classes=10,
    published={"": "fusing/ddpm-cifar10-ema"},  # google/ddpm-cifar10-32 is not the EMA
)
def cifar10(path: Path, download: bool) -> Splits:
    """Read the official training and test images."""
    return read_arrays("CIFAR10", PUT, path, download)
