"""FOLDER: a folder or a zip of images.

* The sub-folder is the class. Images at the top, or all in one sub-folder, have no classes.
* A `dataset.json` at the top ({"labels": [["name", class], ...]}, as EDM writes) has precedence.
* A top level of `train` and one of `test`, `val`, `valid`, `validation` (the first of these that
  exists) is read as the two splits.
* Folders that only contain all the others are skipped, and so are hidden files.
"""

import json
from pathlib import Path, PurePosixPath

import numpy as np

from datasets.files import Files, open_files
from datasets.parts import SOURCES
from datasets.readers import FileReader, Split, Splits

EXTENSIONS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".npy")
HELD_OUT = ("test", "val", "valid", "validation")  # in order of preference


@SOURCES.part(
    "FOLDER",
    title="folder or zip of images",
    paper="",
    size=None,
    channels=None,
    labels="where there are sub-folders",
)
def folder(path: Path, download: bool) -> Splits:
    """Read the images, with the classes that the sub-folders or dataset.json give."""
    return read_folder(path)


def read_folder(path: Path, labelled: bool = True) -> Splits:
    """Read the training split and, if the top level has one, the held-out split.

    Raises FileNotFoundError where there are no images, ValueError for labels that do not fit them.
    """
    files = open_files(path)
    everything = files.names()
    names = [n for n in everything if n.lower().endswith(EXTENSIONS)]
    if not names:
        raise FileNotFoundError(
            f"no images in {path}: expected files ending in {' '.join(EXTENSIONS)}, "
            "in one sub-folder per class or in none"
        )
    root = _wrapper(names)
    below: dict[str, list[str]] = {}
    for name in names:
        below.setdefault(name[len(root) :].split("/")[0], []).append(name)
    held_out = [head for head in HELD_OUT if head in below]
    if not (held_out and "train" in below and set(below) <= {"train", *HELD_OUT}):
        return _split(files, names, root, everything, labelled), None
    train = _split(files, below["train"], f"{root}train/", everything, labelled)
    head = held_out[0]
    test = _split(files, below[head], f"{root}{head}/", everything, labelled, train.classes)
    return train, test


def read_test_folder(path: Path, classes: list[str] | None) -> Split:
    """Read all images of a folder or zip as a held-out split. classes: of the training split."""
    files = open_files(path)
    everything = files.names()
    names = [n for n in everything if n.lower().endswith(EXTENSIONS)]
    if not names:
        raise FileNotFoundError(f"no images in the test_path {path}")
    root = "" if classes else _wrapper(names)
    return _split(files, names, root, everything, classes is not None, classes)


def _wrapper(names: list[str]) -> str:
    """Find the leading folders that hold everything and have sub-folders: "", "a/" or "a/b/"."""
    root = ""
    while True:
        rest = [PurePosixPath(name[len(root) :]).parts for name in names]
        if len({parts[0] for parts in rest}) > 1 or min(map(len, rest)) < 3:
            return root
        root += rest[0][0] + "/"


def _split(
    files: Files,
    names: list[str],
    root: str,
    everything: list[str],
    labelled: bool,
    classes: list[str] | None = None,
) -> Split:
    """Make a split of the images `names`, labelled below `root` by dataset.json or sub-folders."""
    reader = FileReader(files, names)
    if not labelled:
        return Split(reader)
    listing = next((n for n in (f"{root}dataset.json", "dataset.json") if n in everything), None)
    if listing is not None:
        return _labelled_by_list(files, reader, listing)
    return _labelled_by_folder(files, reader, root, classes)


def _labelled_by_folder(
    files: Files, reader: FileReader, root: str, classes: list[str] | None
) -> Split:
    parts = [PurePosixPath(name[len(root) :]).parts for name in reader.names]
    if min(map(len, parts)) < 2:
        return Split(reader)
    heads = [p[0] for p in parts]
    found = sorted(set(heads))
    if classes is None:
        if len(found) < 2:
            return Split(reader)
        classes = found
    unknown = sorted(set(found) - set(classes))
    if unknown:
        raise ValueError(
            f"{files.path / root}: classes {unknown} are not among those of training, {classes}"
        )
    number = {name: i for i, name in enumerate(classes)}
    return Split(reader, np.array([number[head] for head in heads], dtype=np.int64), classes)


def _labelled_by_list(files: Files, reader: FileReader, listing: str) -> Split:
    where = files.path / listing
    try:
        entries = json.loads(files.read(listing))["labels"]
        if entries is None:
            return Split(reader)
        table = {str(name): label for name, label in entries}
    except (ValueError, KeyError, TypeError) as err:
        raise ValueError(f'{where}: expected {{"labels": [["name", class], ...]}}') from err
    prefix = listing.removesuffix("dataset.json")
    labels = [table.get(name.removeprefix(prefix)) for name in reader.names]
    for name, label in zip(reader.names, labels, strict=True):
        if not isinstance(label, int) or isinstance(label, bool) or label < 0:
            fault = "is not listed" if label is None else f"has {label!r}, not a class number"
            raise ValueError(f"{where}: {name} {fault}")
    known = [label for label in table.values() if isinstance(label, int)]
    classes = [str(i) for i in range(max(known) + 1)]
    return Split(reader, np.array(labels, dtype=np.int64), classes)
