"""The report of one or more sweeps: a page to look at, tables, and a TensorBoard entry."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from torch import Tensor

from runners.record.files import write_text

__all__ = ["write"]


def write(
    folders: Sequence[Path],
    out: Path,
    training: dict[str, Path],
    images: Callable[[Sequence[int]], Tensor] | None,
    board: Path | None,
) -> list[Path]:
    """Write report.html, .csv, .md and .tex of these sweeps to `out`; returns the files written.

    Reports are derived files: earlier ones there are replaced. training: run folder by doc,
    for the training curves (a doc it does not name is looked for where its sweep says);
    images: training images (n, C, H, W) uint8 by index, None where they are not at hand; board:
    folder of the TensorBoard HParams entry, None for none.

    Raises ConfigError for a folder without finished cells, and for sweeps of different data,
    metrics or numbers of samples.
    """
    # Matplotlib takes a second to import: a sweep that only reads its finished cells does without.
    from runners.report import board as tensorboard
    from runners.report import tables
    from runners.report.page import page
    from runners.report.study import study

    found = study(folders)
    texts = {
        "report.html": page(found, training, images),
        "report.csv": tables.as_csv(found),
        "report.md": tables.as_markdown(found),
        "report.tex": tables.as_latex(found),
    }
    for name, text in texts.items():
        write_text(out / name, text)
    written = [out / name for name in texts]
    return written + (tensorboard.write(found, board) if board else [])
