"""Report on a data set: every file is read once."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from tqdm import tqdm

from datasets.base import Config
from datasets.memory import cpu_count, shows_bars
from datasets.pixels import BAD_FILE, describe, fit
from datasets.readers import Split
from datasets.sources import ROOT, find_splits

Verdict = tuple[str, int, int] | str  # (mode, width, height), or why a file is bad


@dataclass
class Report:
    """Result of a check. lines: counts; bad: every unreadable image; str(): both as text."""

    lines: list[str] = field(default_factory=list)
    bad: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        unit = "image" if len(self.bad) == 1 else "images"
        last = f"{len(self.bad):,} unreadable {unit}" if self.bad else "all images can be read"
        return "\n".join([*self.lines, *(f"  bad: {line}" for line in self.bad), last])


def inspect(config: Config, root: Path = ROOT) -> Report:
    """Decode every image of both splits. Raises FileNotFoundError where the data set is missing."""
    data, report = config.data, Report()
    for title, split in zip(("train", "test"), find_splits(config, root), strict=True):
        if split is None:
            report.lines.append(f"{title}: none")
        else:
            _inspect_split(report, title, split, data.image_size, data.channels)
    return report


def check(config: Config, root: Path = ROOT) -> str:
    """Check a data set, as text: counts by split, class, size and mode, then unreadable files."""
    return str(inspect(config, root))


def _inspect_split(report: Report, title: str, split: Split, size: int, channels: int) -> None:
    def look(index: int) -> Verdict:
        try:
            picture = split.reader.read(index)
            fit(picture, size, channels, split.box)
        except BAD_FILE as err:
            return str(err) or type(err).__name__
        return describe(picture)

    count, seen = len(split.reader), Counter[tuple[str, int, int]]()
    report.lines.append(f"{title}: {count:,} images")
    with ThreadPoolExecutor(cpu_count()) as pool:
        verdicts = pool.map(look, range(count))
        bar = tqdm(verdicts, title, count, unit="img", leave=False, disable=not shows_bars())
        for index, verdict in enumerate(bar):
            if isinstance(verdict, str):
                report.bad.append(f"{split.reader.name(index)} ({verdict})")
            else:
                seen[verdict] += 1
    report.lines += _classes(split)
    report.lines += _shapes(seen)


def _classes(split: Split) -> list[str]:
    if split.labels is None:
        return ["  no classes"]
    names = split.classes or []
    counts = np.bincount(split.labels, minlength=len(names))
    return [f"  class {name}: {number:,}" for name, number in zip(names, counts, strict=True)]


def _shapes(seen: Counter[tuple[str, int, int]], most: int = 10) -> list[str]:
    rows = [f"  {w}x{h} {mode}: {number:,}" for (mode, w, h), number in seen.most_common(most)]
    rest = len(seen) - len(rows)
    return [*rows, f"  and {rest:,} more sizes"] if rest > 0 else rows
