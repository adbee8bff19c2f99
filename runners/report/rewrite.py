"""The verb `report`: what the report of a sweep needs besides the sweep's own folder."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from configs.command.options import Options
from configs.command.parse import Command
from configs.schema import Config, ConfigError, Override, from_values, load
from configs.schema.problems import nearest
from datasets import get_dataset
from runners import report
from runners.record import cells, sweep_folder

log = logging.getLogger("skip_step")


def rewrite(command: Command) -> None:
    """Write the report of EXP/sweeps/NAME again; of several, side by side, into
    EXP/reports/NAME1,NAME2, which no sweep can be called.

    --config and --data.KEY say where the training images are now. Raises ConfigError for an unknown
    name and for mistakes in those.
    """
    options = command.options
    folders = options.sweeps
    for folder in folders:
        if not folder.is_dir():
            known = sorted(path.parent.name for path in folder.parent.glob("*/sweep.json"))
            hint = nearest(folder.name, known) or f"; sweeps there: {', '.join(known) or 'none'}"
            raise ConfigError(f"--name {folder.name}: no such sweep in {folder.parent}{hint}")
    config = None
    if command.config is not None:
        config = load(command.config, command.overrides)
    elif command.overrides:
        config = _trained(cells.load(folders[0]).meta, command.overrides)
    out = folders[0] if len(folders) == 1 else options.exp / "reports" / ",".join(options.names)
    write_report(folders, out, options, config)


def write_report(
    folders: Sequence[Path], out: Path, options: Options, config: Config | None = None
) -> None:
    """The report of these sweeps into `out`, below EXP, one job at a time. config: which training
    images, where it is not that of the first sweep's first run.
    """
    metas = [cells.load(folder).meta for folder in folders]
    training: dict[str, Path] = {}
    for meta in metas:
        for doc, about in meta["docs"].items():
            run = Path(about["run"])
            training.setdefault(doc, run if run.is_dir() else options.logs / doc)
    out.mkdir(parents=True, exist_ok=True)
    board = options.exp / "tensorboard" / out.relative_to(options.exp)
    with sweep_folder.guard(out):
        written = report.write(folders, out, training, _images(metas[0], options, config), board)
    names = ", ".join(path.name for path in written if path.parent == out)
    log.info("report in %s: %s; for TensorBoard in %s", out, names, board)


def _images(
    meta: dict[str, Any], options: Options, config: Config | None
) -> Callable[[Sequence[int]], Tensor] | None:
    """The training images by index; None, said in a line, where they are not at hand."""
    try:
        config = config or _trained(meta)
        data = config.data.model_copy(update={"download": False})
        dataset, _ = get_dataset(config.model_copy(update={"data": data}), options.datasets)
        if dataset.fingerprint() != meta["dataset"]["fingerprint"]:
            raise ValueError("these are other images than those of the sweep")
    except (OSError, ValueError, RuntimeError, ImportError) as err:
        reason = " ".join(str(err).split())
        log.warning("no training images at hand, so no nearest neighbours are shown: %s", reason)
        return None
    return dataset.images


def _trained(meta: dict[str, Any], overrides: Iterable[Override] = ()) -> Config:
    """How the first run of a sweep was trained."""
    return from_values(next(iter(meta["docs"].values()))["config"], "sweep.json", overrides)
