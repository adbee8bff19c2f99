"""LSUN: the lmdb database of one category, in the order of its keys.

The list of keys is read at every start and kept in memory (40 bytes an image): half a second for
the 126,227 keys of church_outdoor in the page cache, more from a cold disk. Needs the optional
package lmdb.
"""

import hashlib
import os
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from configs.parts import require
from datasets.parts import SOURCES
from datasets.pixels import Picture, decode
from datasets.readers import Split, Splits

PROBES = 1000  # values that enter the digest
PUBLISHED = {
    "bedroom": "google/ddpm-ema-bedroom-256",
    "church_outdoor": "google/ddpm-ema-church-256",
}

_OPENED: dict[Path, tuple[int, Any]] = {}  # by path: process id and lmdb environment


@SOURCES.part(
    "LSUN",
    title="LSUN",
    paper="1506.03365",
    size=None,
    channels=3,
    labels="no",
    published=PUBLISHED,
)
def lsun(path: Path, download: bool, category: str) -> Splits:
    """Read the databases CATEGORY_train_lmdb and, if it is there, CATEGORY_val_lmdb.

    category: such as bedroom or church_outdoor.
    """
    require(lsun, category=category)
    train, test = (path / f"{category}_{split}_lmdb" for split in ("train", "val"))
    if not train.exists():
        raise FileNotFoundError(
            f"LSUN {category} is missing: unpack {train.name}.zip (and {test.name}.zip, "
            f"both from https://github.com/fyu/lsun) in {path}"
        )
    return Split(LmdbReader(train)), Split(LmdbReader(test)) if test.exists() else None


class LmdbReader:
    """Images of an lmdb database, which every process that reads opens for itself."""

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
        """Name an image by the path of the database and the key."""
        return f"{self.path}[{self.keys[index].decode(errors='replace')}]"

    def _value(self, index: int) -> bytes:
        with _database(self.path).begin() as transaction:
            value = transaction.get(bytes(self.keys[index]))
        if value is None:
            raise OSError("the key is not in the database any more")
        return value

    def read(self, index: int) -> Picture:
        """Read and decode one image."""
        return decode(self._value(index), "")

    def digest(self) -> str:
        """Hash (SHA-256) all keys, and size and CRC-32 of a thousand evenly spaced values."""
        total = hashlib.sha256(self.keys.tobytes())
        for index in np.linspace(0, len(self) - 1, min(PROBES, len(self))).astype(int):
            value = self._value(index)
            total.update(f"{len(value)} {zlib.crc32(value):08x}\n".encode())
        return total.hexdigest()


def _database(path: Path) -> Any:
    # lmdb allows a database to be opened once in a process, and not to be used after a fork
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
        # no locks: the databases are never written, and often lie on read-only or network disks
        return lmdb.open(
            os.fspath(path), subdir=path.is_dir(), readonly=True, lock=False, readahead=False
        )
    except lmdb.Error as err:
        raise OSError(f"{path} is not an lmdb database, or is damaged: {err}") from err
