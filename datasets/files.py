"""Files of a folder or of a zip archive, with the same methods; safe to pickle and to fork."""

import os
import zipfile
import zlib
from collections.abc import Collection, Sequence
from pathlib import Path, PurePosixPath
from typing import Protocol

PROBE = 4096  # bytes at either end of a file that enter its stamp


class Files(Protocol):
    """Files by name: paths below a root, separated by slashes."""

    path: Path

    def names(self) -> list[str]:
        """List the visible names in code-point order, the same on every file system."""

    def read(self, name: str) -> bytes:
        """Read one file. Raises OSError or zipfile.BadZipFile where it cannot be read."""

    def stamp(self, name: str) -> str:
        """Describe one file by size and a quick checksum, for fingerprints."""


def open_files(path: Path) -> Files:
    """Open a folder or a zip archive. Raises FileNotFoundError, or ValueError for another file."""
    if path.is_dir():
        return FolderFiles(path)
    if path.is_file():
        return ZipFiles(path)
    raise FileNotFoundError(f"{path} not found: expected a folder or a zip of images there")


class FolderFiles:
    """Files below a folder. Links are followed, each real folder once."""

    def __init__(self, path: Path):
        self.path = path

    def names(self) -> list[str]:
        """List the visible names in code-point order."""
        found: list[str] = []
        seen: set[str] = set()
        for where, folders, files in os.walk(self.path, followlinks=True):
            real = os.path.realpath(where)
            if real in seen:
                folders.clear()
                continue
            seen.add(real)
            folders.sort()  # of two links to one folder, the same one counts on every disk
            below = Path(where).relative_to(self.path)
            found += [(below / file).as_posix() for file in files]
        return sorted(filter(_visible, found))

    def read(self, name: str) -> bytes:
        """Read one file."""
        return (self.path / name).read_bytes()

    def stamp(self, name: str) -> str:
        """Give size, and CRC-32 of the first and last 4 KiB."""
        with (self.path / name).open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(0)
            checksum = zlib.crc32(file.read(PROBE))
            file.seek(max(size - PROBE, 0))
            checksum = zlib.crc32(file.read(PROBE), checksum)
        return f"{size} {checksum:08x}"


class ZipFiles:
    """Files in a zip archive, which every process that reads opens for itself."""

    def __init__(self, path: Path):
        self.path = path
        self._opened: tuple[int, zipfile.ZipFile] | None = None
        if not zipfile.is_zipfile(path):
            with path.open("rb") as file:
                page = file.read(512).lstrip().startswith(b"<")
            fault = "a web page saved under that name (a download quota?)" if page else "not a zip"
            raise ValueError(f"{path} is {fault}, or was cut off; download it again")

    def __getstate__(self) -> dict[str, object]:
        return {"path": self.path, "_opened": None}

    def _zip(self) -> zipfile.ZipFile:
        # a forked worker shares its parent's file offset, so each process opens the archive
        if self._opened is None or self._opened[0] != os.getpid():
            self._opened = (os.getpid(), zipfile.ZipFile(self.path))
        return self._opened[1]

    def names(self) -> list[str]:
        """List the visible names in code-point order, each once."""
        entries = {i.filename for i in self._zip().infolist() if not i.is_dir()}
        return sorted(filter(_visible, entries))

    def read(self, name: str) -> bytes:
        """Read one entry and check its CRC-32."""
        return self._zip().read(name)

    def stamp(self, name: str) -> str:
        """Give size and CRC-32 from the directory of the archive."""
        entry = self._zip().getinfo(name)
        return f"{entry.file_size} {entry.CRC:08x}"


def missing_names(there: Collection[str], wanted: Sequence[str]) -> str:
    """Say how many of `wanted` are not there, and the first of them; "" if all are."""
    missing = [name for name in wanted if name not in there]
    return f"{len(missing):,} of {len(wanted):,} ({missing[0]} first)" if missing else ""


def _visible(name: str) -> bool:
    parts = PurePosixPath(name).parts
    return not any(part.startswith(".") or part == "__MACOSX" for part in parts)
