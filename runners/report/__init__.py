"""The verb `report`: an HTML document, tables and a TensorBoard entry of one or more sweeps."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from configs.command.options import Options
from configs.schema import Config, ConfigError, Override, load
from configs.schema.problems import nearest
from runners.record import sweep_folder
from runners.record.files import write_text
from runners.record.sweep_settings import Settings

if TYPE_CHECKING:
    from runners.report.inline_sheets import Images


log = logging.getLogger("skip_step")


def report(options: Options, config: str | None, overrides: Iterable[Override]) -> None:
    """Write the report of EXP/sweeps/NAME; of several sweeps, side by side, into
    EXP/reports/NAME1,NAME2, which no sweep can be called.

    config: a file, overrides: of its keys; they say where the training images are now. Raises
    ConfigError for an unknown name and for mistakes in those.
    """
    from runners.report.training_images import trained

    folders, overrides = options.sweeps, list(overrides)
    for folder in folders:
        if not folder.is_dir():
            known = sorted(path.parent.name for path in folder.parent.glob("*/sweep.json"))
            hint = nearest(folder.name, known) or f"; sweeps there: {', '.join(known) or 'none'}"
            raise ConfigError(f"--name {folder.name}: no such sweep in {folder.parent}{hint}")
    found = None
    if config is not None:
        found = load(config, overrides)
    elif overrides:
        found = trained(Settings.read(folders[0] / "sweep.json"), overrides)
    write_report(options, found)


def write_report(options: Options, config: Config | None = None) -> None:
    """Write the report of the command's sweeps, one job at a time. config: of the training images,
    None for that of the first sweep's first run.
    """
    from runners.report.training_images import training_images

    folders, exp = options.sweeps, options.exp
    out = folders[0] if len(folders) == 1 else exp / "reports" / ",".join(options.names)
    settings = [Settings.read(folder / "sweep.json") for folder in folders]
    runs: dict[str, Path] = {}
    for one in settings:
        for doc, run in one.docs.items():
            folder = Path(run.run)
            runs.setdefault(doc, folder if folder.is_dir() else options.logs / (run.doc or doc))
    out.mkdir(parents=True, exist_ok=True)
    board = exp / "tensorboard" / out.relative_to(exp)
    with sweep_folder.guard(out):
        images = training_images(settings[0], config, options.datasets)
        written = write(folders, out, runs, images, board, options.axis)
    names = ", ".join(path.name for path in written if path.parent == out)
    log.info("report in %s: %s; for TensorBoard in %s", out, names, board)


def write(
    folders: Sequence[Path],
    out: Path,
    runs: Mapping[str, Path],
    images: Images | None,
    board: Path | None,
    axis: str = "steps",
) -> list[Path]:
    """Write report.html, .csv, .md and .tex of these sweeps to `out`, and curve.json where they
    hold snapshots; returns the files written.

    Reports are derived files: earlier ones there are replaced. runs: run folder by doc, for the
    training curves. images: training images (n, C, H, W) uint8 by index, None where they are not at
    hand. board: folder of the TensorBoard entry, None for none. axis: of the training curves.

    Raises ConfigError for a folder without finished cells, and for sweeps that do not compare.
    """
    # Matplotlib takes a second to import, and not every command that imports this file reports.
    from runners.report import convergence_section, hparams, tables
    from runners.report.convergence import converged
    from runners.report.document import document
    from runners.report.load_sweeps import load_sweeps

    found = load_sweeps(folders)
    speed = converged(found)
    texts = {
        "report.html": document(found, speed, runs, images, axis),
        "report.csv": tables.as_csv(found),
        "report.md": tables.as_markdown(found, speed),
        "report.tex": tables.as_latex(found.ends or found),
    }
    if speed:
        texts["curve.json"] = convergence_section.as_json(speed)
    for name, text in texts.items():
        write_text(out / name, text)
    written = [out / name for name in texts]
    return written + (hparams.write(found, board) if board else [])
