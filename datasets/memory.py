"""Decoding of a whole split into memory, and the memory that is available."""

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from datasets.pixels import BAD_FILE, fit
from datasets.readers import Split

FRACTION = 0.25  # of the available memory that "auto" lets decoded images take
CHUNK = 128  # images that one thread decodes before it reports
NAMED = 5  # unreadable files that an error message names
UNKNOWN = 8 << 30  # bytes assumed available where the system does not tell


def fits_in_memory(total_bytes: int) -> bool:
    """Decide for "auto" whether this many bytes of decoded images are kept in memory.

    The limit is a quarter of the available memory, divided by the number of processes that share
    this machine under torchrun.
    """
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return total_bytes <= FRACTION * available_memory() / processes


def available_memory() -> int:
    """Count the available bytes: Linux's MemAvailable, or the cgroup's limit if that is lower."""
    found = [_cgroup_limit("memory.max"), _cgroup_limit("memory/memory.limit_in_bytes")]
    meminfo = Path("/proc/meminfo")
    if meminfo.is_file():
        lines = dict(line.split(":", 1) for line in meminfo.read_text().splitlines() if line)
        if "MemAvailable" in lines:
            found.append(int(lines["MemAvailable"].split()[0]) << 10)
    return min([limit for limit in found if limit is not None], default=UNKNOWN)


def _cgroup_limit(name: str) -> int | None:
    file = Path("/sys/fs/cgroup") / name
    text = file.read_text().strip() if file.is_file() else "max"
    return None if text == "max" else int(text)


def decode_all(split: Split, size: int, channels: int, title: str) -> Tensor:
    """Decode every image of a split: uint8 (N, channels, size, size). title: of the progress bar.

    All images are tried, then OSError names the first unreadable ones and how many there are.
    """
    count = len(split.reader)
    pixels = torch.empty((count, channels, size, size), dtype=torch.uint8)
    rows = pixels.numpy()
    bad: list[tuple[str, str]] = []

    def work(start: int) -> tuple[int, list[tuple[str, str]]]:
        indices = range(start, min(start + CHUNK, count))
        return len(indices), _decode_rows(split, rows, indices)

    # threads, not processes: Pillow decodes and resizes outside Python's lock
    with (
        ThreadPoolExecutor(cpu_count()) as pool,
        tqdm(total=count, desc=title, unit="img", leave=False, disable=not shows_bars()) as bar,
    ):
        for done, failures in pool.map(work, range(0, count, CHUNK)):
            bar.update(done)
            bad += failures
    if bad:
        raise OSError(bad_files_message(bad, count))
    return pixels


def _decode_rows(split: Split, rows: np.ndarray, indices: range) -> list[tuple[str, str]]:
    bad = []
    for index in indices:
        try:
            rows[index] = fit(split.reader.read(index), rows.shape[-1], rows.shape[1], split.box)
        except BAD_FILE as err:
            bad.append((split.reader.name(index), str(err) or type(err).__name__))
    return bad


def bad_files_message(bad: list[tuple[str, str]], count: int) -> str:
    """Say in one line how many of `count` images are unreadable, which, and what to do."""
    named = "; ".join(f"{name} ({reason})" for name, reason in bad[:NAMED])
    more = f"; and {len(bad) - NAMED:,} more" if len(bad) > NAMED else ""
    return (
        f"{len(bad):,} of {count:,} images cannot be read: {named}{more}. "
        "Replace or delete them (--check_data lists them all) and start again"
    )


def cpu_count() -> int:
    """Count the processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def shows_bars() -> bool:
    """Decide whether to show progress bars: on a terminal, in the first process only."""
    return sys.stderr.isatty() and os.environ.get("RANK", "0") == "0"
