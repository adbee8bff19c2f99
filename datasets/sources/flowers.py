"""FLOWERS: the Oxford 102 Flowers, RGB of many sizes.

Training takes the official train and val splits together (2,040 images); test has 6,149.
"""

from pathlib import Path

import numpy as np

from datasets.files import FolderFiles, missing_names
from datasets.parts import SOURCES
from datasets.readers import FileReader, Split, Splits
from datasets.sources.vision import fetch

PUT = (
    "102flowers.tgz (unpacked to jpg), imagelabels.mat and setid.mat "
    "(https://www.robots.ox.ac.uk/~vgg/data/flowers/102) in flowers-102"
)


@SOURCES.part(
    "FLOWERS",
    title="Oxford 102 Flowers",
    paper="",
    size=None,
    channels=3,
    labels="yes",
    classes=102,
)
def flowers(path: Path, download: bool) -> Splits:
    """Read the images, with their 102 classes."""
    from torchvision.datasets import Flowers102

    base = path / "flowers-102" if (path / "flowers-102").is_dir() else path
    wanted = [base / "setid.mat", base / "imagelabels.mat", base / "jpg"]
    if not all(p.exists() for p in wanted):
        fetch("Flowers102", PUT, path, download, lambda: Flowers102(path, download=True))
        base = path / "flowers-102"
    sets, numbers = _matlab(base / "setid.mat"), _matlab(base / "imagelabels.mat")
    files = FolderFiles(base)
    there = set(files.names())

    def split(*keys: str) -> Split:
        ids = np.concatenate([sets[key].ravel() for key in keys]).astype(np.int64)
        names = [f"jpg/image_{i:05d}.jpg" for i in ids]
        if missing := missing_names(there, names):
            raise FileNotFoundError(f"{base} lacks {missing}: unpack 102flowers.tgz there again")
        labels = numbers["labels"].ravel().astype(np.int64)[ids - 1] - 1
        return Split(FileReader(files, names), labels, list(Flowers102.classes))

    return split("trnid", "valid"), split("tstid")


def _matlab(file: Path) -> dict[str, np.ndarray]:
    """Read the arrays of a .mat file."""
    from scipy.io import loadmat

    try:
        return loadmat(file)
    except (ValueError, TypeError, NotImplementedError) as err:
        raise OSError(f"{file} is damaged: {err}") from err
