"""Files that are whole or absent, and old ones moved aside instead of overwritten."""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path

log = logging.getLogger("skip_step")


def write_text(path: Path, text: str) -> None:
    """Write the whole file or nothing: to a temporary file beside it, which is then renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def move_aside(folder: Path) -> Path:
    """Rename a file or folder to a free name with the time in it, and log both names."""
    stamp = time.strftime("%Y%m%d-%H%M%S")
    target = folder.with_name(f"{folder.name}.{stamp}")
    number = 1
    while target.exists():
        number += 1
        target = folder.with_name(f"{folder.name}.{stamp}-{number}")
    folder.rename(target)
    log.warning("moved %s to %s", folder, target)
    return target
