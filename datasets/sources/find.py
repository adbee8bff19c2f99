"""From the config's `data` section to splits: where a data set lies and what is held out."""

from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path

import numpy as np

from datasets.base import Config, DataConfig
from datasets.readers import Split, Splits
from datasets.sources.celeba import celeba
from datasets.sources.digits import digits
from datasets.sources.folder import ffhq, folder, read_test_folder
from datasets.sources.lsun import lsun
from datasets.sources.vision import cifar10, fashion_mnist, flowers, mnist

ROOT = Path("exp/datasets")  # EXP/datasets of the default EXP

SOURCES: dict[str, Callable[[DataConfig, Path], Splits]] = {
    "DIGITS": digits,
    "CIFAR10": cifar10,
    "CELEBA": celeba,
    "LSUN": lsun,
    "FFHQ": ffhq,
    "FLOWERS": flowers,
    "MNIST": mnist,
    "FASHIONMNIST": fashion_mnist,
    "FOLDER": folder,
}


def find_splits(config: Config, root: Path) -> Splits:
    """Training and held-out split of the config's data set, nothing decoded yet.

    The held-out split is `data.test_path` if set, else the source's own, else a fraction
    `data.holdout` of the training split, chosen by the number of images alone.
    """
    data = config.data
    name = data.dataset.upper()
    if name not in SOURCES:
        near = get_close_matches(name, SOURCES, n=1, cutoff=0.0)[0]
        known = ", ".join(SOURCES)
        raise ValueError(f"data.dataset: {data.dataset} is unknown, nearest {near} (of {known})")
    train, test = SOURCES[name](data, data_path(data, root))
    if data.test_path is not None:
        test = read_test_folder(Path(data.test_path).expanduser(), train.classes)
    if test is None and data.holdout > 0:
        return hold_out(train, data.holdout)
    return train, test


def data_path(data: DataConfig, root: Path) -> Path:
    """`data.path`, or else ROOT/name: as written in the config, in lower case, or name.zip."""
    if data.path is not None:
        return Path(data.path).expanduser()
    lower = data.dataset.lower()
    places = [root / data.dataset, root / lower, root / f"{lower}.zip"]
    return next((place for place in places if place.exists()), root / lower)


def hold_out(split: Split, fraction: float) -> Splits:
    """Move round(fraction n) images, at least 1, to a second split; both keep their order."""
    count = len(split.reader)
    held = max(1, round(fraction * count))
    if not 0 <= fraction < 1 or held >= count:
        raise ValueError(f"data.holdout: {fraction} of {count} images leaves none to train on")
    chosen = np.zeros(count, dtype=bool)
    chosen[np.random.default_rng(count).permutation(count)[:held]] = True
    return split.take(np.flatnonzero(~chosen)), split.take(np.flatnonzero(chosen))
