"""LSUN: the lmdb of one category, in the key order of the database.

The list of keys is read at every start, kept in memory (40 bytes a picture) and never written: a
walk over the database's index, measured at half a second for 126,227 keys (church_outdoor's number)
from the page cache; a cold disk takes longer. Needs the optional package lmdb.
"""

import hashlib
import os
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from datasets.base import DataConfig
from datasets.pixels import Picture, decode
from datasets.readers import Split, Splits

PROBES = 1000  # values that enter the digest

_OPENED: dict[Path, tuple[int, Any]] = {}  # by path: process id and lmdb environment


def lsun(data: DataConfig, path: Path) -> Splits:
    """The databases CATEGORY_train_lmdb and, where it is there, CATEGORY_val_lmdb."""
    if data.category is None:
        raise ValueError("data.category: LSUN needs one, such as bedroom or church_outdoor")
    train, test = (path / f"{data.category}_{split}_lmdb" for split in ("train", "val"))
    if not train.exists():
        raise FileNotFoundError(
            f"LSUN {data.category} is missing: unpack {train.name}.zip (and {test.name}.zip, "
            f"both from https://github.com/fyu/lsun) in {path}"
        )
    return Split(LmdbReader(train)), Split(LmdbReader(test)) if test.exists() else None


class LmdbReader:
    """Pictures of an lmdb of encoded images, opened anew in every process that reads it."""

    def __init__(self, path: Path):
        self.path = path
        with _database(path).begin() as transaction:
            cursor = transaction.cursor()
            self.keys = np.array(list(cursor.iternext(keys=True, values=False)), dtype=bytes)
        if not len(self.keys):
            raise ValueError(f"{path} holds no images: download and unpack it again")

    def __len__(self) -> int:
        return len(self.keys)

    def name(self, index: int) -> str:
        """Path of the database and the key."""
        return f"{self.path}[{self.keys[index].decode(errors='replace')}]"

    def _value(self, index: int) -> bytes:
        with _database(self.path).begin() as transaction:
            value = transaction.get(bytes(self.keys[index]))
        if value is None:
            raise OSError("the key is not in the database any more")
        return value

    def read(self, index: int) -> Picture:
        """Read and decode one picture."""
        return decode(self._value(index), "")

    def digest(self) -> str:
        """SHA-256 of all keys and of size and CRC-32 of a thousand evenly spaced values."""
        total = hashlib.sha256(self.keys.tobytes())
        for index in np.linspace(0, len(self) - 1, min(PROBES, len(self))).astype(int):
            value = self._value(index)
            total.update(f"{len(value)} {zlib.crc32(value):08x}\n".encode())
        return total.hexdigest()


def _database(path: Path) -> Any:
    # lmdb forbids opening a database twice in a process, and using it across a fork.
    path = path.resolve()
    owner, database = _OPENED.get(path, (0, None))
    if owner != os.getpid():
        if database is not None:
            database.close()
        _OPENED[path] = os.getpid(), _open(path)
    return _OPENED[path][1]


def _open(path: Path) -> Any:
    try:
        import lmdb
    except ImportError as err:
        raise RuntimeError("LSUN needs the package lmdb: pip install lmdb==3.0.0") from err
    try:
        # No locks: the databases are often on read-only or network disks and never written.
        return lmdb.open(
            os.fspath(path), subdir=path.is_dir(), readonly=True, lock=False, readahead=False
        )
    except lmdb.Error as err:
        raise OSError(f"{path} is no lmdb database or is damaged: {err}") from err
