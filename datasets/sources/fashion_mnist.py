"""FASHIONMNIST: 60,000 training and 10,000 test images of 10 kinds of clothing, 28x28 grey."""

from pathlib import Path

from datasets.parts import SOURCES
from datasets.readers import Splits
from datasets.sources.vision import read_arrays

PUT = (
    "the four train-/t10k- files (*-ubyte, https://github.com/zalandoresearch/fashion-mnist), "
    "gunzipped, in FashionMNIST/raw"
)


@SOURCES.part(
    "FASHIONMNIST",
    title="Fashion-MNIST",
    paper="1708.07747",
    size=28,
    channels=1,
    labels="yes",
    classes=10,
)
def fashion_mnist(path: Path, download: bool) -> Splits:
    """Read the official training and test images."""
    return read_arrays("FashionMNIST", PUT, path, download)
