"""Reading and downloading by torchvision, which several data sets share."""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from datasets.readers import ArrayReader, Split, Splits


def read_arrays(kind: str, put: str, path: Path, download: bool) -> Splits:
    """Read the training and test split of a data set that torchvision keeps as arrays.

    kind: torchvision's class; put: files to place in `path` by hand. Raises as `fetch` does, and
    OSError for damaged files.
    """
    import torchvision.datasets

    reader = getattr(torchvision.datasets, kind)

    def split(train: bool) -> Split:
        try:
            found = reader(path, train=train)
        except RuntimeError:  # torchvision's error for missing files and for wrong checksums
            run = partial(reader, path, train=train, download=True)
            found = fetch(kind, put, path, download, run)
        except (ValueError, OSError, EOFError) as err:
            raise OSError(f"{kind} in {path} is damaged ({err}): put {put} there") from err
        title = f"{kind} {'train' if train else 'test'}"
        labels = np.asarray(found.targets, dtype=np.int64)
        return Split(ArrayReader(np.asarray(found.data), title), labels, list(found.classes))

    return split(True), split(False)


def fetch(kind: str, put: str, path: Path, download: bool, run: Callable[[], Any]) -> Any:
    """Call torchvision's download, `run`, if `download` allows it.

    kind, put: name of the data set and its files, for messages. Raises FileNotFoundError, which
    says what to put where, if it is not allowed; RuntimeError if it fails.
    """
    if not download:
        raise FileNotFoundError(
            f"{kind} is missing (or damaged) in {path}: put {put} there, or set data.download"
        )
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise RuntimeError(f"fetch {kind} with one process first (--check_data), then start many")
    try:
        path.mkdir(parents=True, exist_ok=True)
        return run()
    except (OSError, RuntimeError, ImportError) as err:
        reason = " ".join(str(err).split())
        raise RuntimeError(
            f"{kind} could not be downloaded ({reason}): put {put} into {path}"
        ) from err
