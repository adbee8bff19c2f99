"""Data sources, one file each."""

from datasets.parts import SOURCES
from datasets.sources import (  # noqa: F401  (each registers its data set)
    celeba,
    cifar10,
    digits,
    fashion_mnist,
    ffhq,
    flowers,
    folder,
    lsun,
    mnist,
)
from datasets.sources.find import ROOT, data_path, find_splits, hold_out, source_name
