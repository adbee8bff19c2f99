"""CIFAR10, MNIST, FASHIONMNIST and FLOWERS, in the layouts that torchvision keeps them in.

Nothing is fetched unless `data.download` is true, and then by torchvision.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from datasets.base import DataConfig
from datasets.files import FolderFiles, missing_names
from datasets.readers import ArrayReader, FileReader, Split, Splits

PUT = {
    "CIFAR10": "cifar-10-python.tar.gz (https://www.cs.toronto.edu/~kriz/cifar.html) and unpack it "
    "to cifar-10-batches-py",
    "MNIST": "the four train-/t10k- files (*-ubyte, https://yann.lecun.org/exdb/mnist), gunzipped, "
    "in MNIST/raw",
    "FashionMNIST": "the four train-/t10k- files (*-ubyte, "
    "https://github.com/zalandoresearch/fashion-mnist), gunzipped, in FashionMNIST/raw",
    "Flowers102": "102flowers.tgz (unpacked to jpg), imagelabels.mat and setid.mat "
    "(https://www.robots.ox.ac.uk/~vgg/data/flowers/102) in flowers-102",
}


def cifar10(data: DataConfig, path: Path) -> Splits:
    """CIFAR-10: 50,000 and 10,000 images, 32x32 RGB, 10 classes."""
    return _arrays("CIFAR10", data, path)


def mnist(data: DataConfig, path: Path) -> Splits:
    """MNIST: 60,000 and 10,000 digits, 28x28 grey."""
    return _arrays("MNIST", data, path)


def fashion_mnist(data: DataConfig, path: Path) -> Splits:
    """Fashion-MNIST: 60,000 and 10,000 pieces of clothing, 28x28 grey."""
    return _arrays("FashionMNIST", data, path)


def flowers(data: DataConfig, path: Path) -> Splits:
    """Oxford 102 Flowers: the official train and val splits (2,040), and test (6,149)."""
    from torchvision.datasets import Flowers102

    base = path / "flowers-102" if (path / "flowers-102").is_dir() else path
    wanted = [base / "setid.mat", base / "imagelabels.mat", base / "jpg"]
    if not all(p.exists() for p in wanted):
        fetch("Flowers102", data, path, lambda: Flowers102(path, download=True))
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


def fetch(kind: str, data: DataConfig, path: Path, download: Callable[[], Any]) -> Any:
    """Run torchvision's download where the config allows it.

    FileNotFoundError that says what to put where when it does not; RuntimeError when it fails.
    """
    if not getattr(data, "download", False):
        raise FileNotFoundError(
            f"{kind} is missing (or damaged) in {path}: put {PUT[kind]} there, or set data.download"
        )
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise RuntimeError(f"fetch {kind} with one process first (--check_data), then start many")
    try:
        path.mkdir(parents=True, exist_ok=True)
        return download()
    except (OSError, RuntimeError, ImportError) as err:
        reason = " ".join(str(err).split())
        raise RuntimeError(
            f"{kind} could not be downloaded ({reason}): put {PUT[kind]} into {path}"
        ) from err


def _arrays(kind: str, data: DataConfig, path: Path) -> Splits:
    import torchvision.datasets

    reader = getattr(torchvision.datasets, kind)

    def split(train: bool) -> Split:
        try:
            found = reader(path, train=train)
        except RuntimeError:  # torchvision's word for missing files and wrong checksums
            found = fetch(kind, data, path, lambda: reader(path, train=train, download=True))
        except (ValueError, OSError, EOFError) as err:
            raise OSError(f"{kind} in {path} is damaged ({err}): put {PUT[kind]} there") from err
        title = f"{kind} {'train' if train else 'test'}"
        labels = np.asarray(found.targets, dtype=np.int64)
        return Split(ArrayReader(np.asarray(found.data), title), labels, list(found.classes))

    return split(True), split(False)


def _matlab(file: Path) -> dict[str, np.ndarray]:
    from scipy.io import loadmat

    try:
        return loadmat(file)
    except (ValueError, TypeError, NotImplementedError) as err:
        raise OSError(f"{file} is damaged: {err}") from err
