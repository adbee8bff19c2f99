"""From the `data` section of a config to splits: where a data set lies, and the held-out images."""

from pathlib import Path

import numpy as np

from configs.parts import PartError
from datasets.base import Config, DataConfig
from datasets.parts import SOURCES
from datasets.readers import Split, Splits
from datasets.sources.folder import read_test_folder

ROOT = Path("exp/datasets")  # EXP/datasets of the default EXP


def find_splits(config: Config, root: Path) -> Splits:
    """Find the training and the held-out split of the config's data set; decode nothing.

    The held-out split is `data.test_path` if set, else the source's own, else a fraction
    `data.holdout` of the training split, which depends only on the number of images.
    """
    data = config.data
    try:
        source, _ = SOURCES.find(source_name(data))
    except PartError as err:
        raise ValueError(f"data.dataset: {err}") from err
    found = source.build(data_path(data, root), data.download, **data.options)
    try:
        train, test = found
    except TypeError as err:
        raise ValueError(f"{source} ({source.place}) gives no (training, held-out) pair") from err
    for split in filter(None, (train, test)):
        if not len(split.reader):
            raise ValueError(f"{source} ({source.place}) gives a split without images")
        if split.labels is not None and len(split.labels) != len(split.reader):
            counts = f"{len(split.labels)} labels for {len(split.reader)} images"
            raise ValueError(f"{source} ({source.place}) gives {counts}")
    if data.test_path is not None:
        test = read_test_folder(Path(data.test_path).expanduser(), train.classes)
    if test is None and data.holdout > 0:
        return hold_out(train, data.holdout)
    return train, test


def source_name(data: DataConfig) -> str:
    """The registered name of the config's data set, which a config may write in lower case."""
    return data.dataset if data.dataset in SOURCES else data.dataset.upper()


def data_path(data: DataConfig, root: Path) -> Path:
    """Locate a data set: `data.path`, else ROOT/name as written, in lower case, or name.zip."""
    if data.path is not None:
        return Path(data.path).expanduser()
    lower = data.dataset.lower()
    places = [root / data.dataset, root / lower, root / f"{lower}.zip"]
    return next((place for place in places if place.exists()), root / lower)


def hold_out(split: Split, fraction: float) -> Splits:
    """Move round(fraction n) of n images, at least 1, to a second split; both keep their order."""
    count = len(split.reader)
    held = max(1, round(fraction * count))
    if not 0 <= fraction < 1 or held >= count:
        raise ValueError(
            f"data.holdout: {fraction} of {count} images leaves none to train on; lower it"
        )
    chosen = np.zeros(count, dtype=bool)
    chosen[np.random.default_rng(count).permutation(count)[:held]] = True
    return split.take(np.flatnonzero(~chosen)), split.take(np.flatnonzero(chosen))
