"""Files of a user's own parts: `--import FILE`, or `imports:` in a config named by --config.

Importing runs a file, so only the command line may ask for it. A saved config or a checkpoint is
data: it records the SHA-256 of the files that its parts came from, and `demand` says which of them
a command did not bring along.
"""

from __future__ import annotations

import hashlib
import sys
import traceback
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from configs.parts import KINDS, ROOT, Part, PartError

Record = dict[str, str]  # {"file": name, "sha256": digest}


class ImportFileError(ValueError):
    """A file that cannot be imported; one line with the file and, where there is one, the line."""


@dataclass(frozen=True)
class Imported:
    """A file that was imported. path: absolute; sha256: of its contents."""

    path: Path
    sha256: str

    @property
    def record(self) -> Record:
        """The file as a config, a recipe or a checkpoint holds it."""
        return {"file": self.path.name, "sha256": self.sha256}


IMPORTED: dict[Path, Imported] = {}


def run(file: str | Path, asked: str) -> Imported:
    """Run a Python file once: it registers its parts. asked: the flag or file that names it.

    Raises ImportFileError for a file that is missing, does not parse, or fails while it runs.
    """
    path = Path(file).expanduser().resolve()
    if path in IMPORTED:
        return IMPORTED[path]
    try:
        content = path.read_bytes()
        code = compile(content, str(path), "exec", dont_inherit=True)
    except OSError as err:
        raise ImportFileError(f"{asked} {file}: {err.strerror}") from err
    except (SyntaxError, ValueError) as err:
        line = f":{err.lineno}" if isinstance(err, SyntaxError) and err.lineno else ""
        reason = err.msg if isinstance(err, SyntaxError) else err
        raise ImportFileError(f"{file}{line}: does not parse: {reason}") from err
    found = Imported(path, hashlib.sha256(content).hexdigest())
    module = ModuleType(f"imported_{path.stem}_{found.sha256[:8]}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module
    try:
        exec(code, module.__dict__)  # noqa: S102  (what the flag is for)
        for part in _parts_of(path):
            part.check()
    except PartError as err:
        raise ImportFileError(str(err)) from err
    except (Exception, SystemExit) as err:
        lines = [
            f.lineno for f in traceback.extract_tb(err.__traceback__) if f.filename == str(path)
        ]
        where = f"{file}:{lines[-1]}" if lines else str(file)
        text = " ".join(str(err).split())
        raise ImportFileError(f"{where}: {type(err).__name__}: {text}") from err
    IMPORTED[path] = found
    return found


def _file(part: Part[Any, Any]) -> Path:
    return ROOT / part.place.rpartition(":")[0]


def _parts_of(path: Path) -> list[Part[Any, Any]]:
    every = [part for registry in KINDS.values() for part in registry.parts.values()]
    return [part for part in every if _file(part) == path]


def records(parts: Iterable[Part[Any, Any]]) -> list[Record]:
    """The imported files in which these parts were written, each once, by name."""
    files = {_file(part) for part in parts}
    found = [one.record for path, one in IMPORTED.items() if path in files]
    return sorted(found, key=lambda record: record["file"])


def demand(wanted: Iterable[Record], source: str) -> tuple[list[str], list[str]]:
    """Compare the imports that a file was made with, and those that this command brought along.

    Returns a line for each import that is missing, and a warning for each that has changed.
    """
    missing, warnings = [], []
    for record in wanted:
        name, digest = record["file"], record["sha256"]
        if any(one.sha256 == digest for one in IMPORTED.values()):
            continue
        if not any(path.name == name for path in IMPORTED):
            what = f"parts of {name} (SHA-256 {digest[:16]}), which is not here"
            missing.append(f"{source} was made with {what}; add --import {name}")
        else:
            warnings.append(f"{name} has changed since {source} was made with it")
    return missing, warnings
