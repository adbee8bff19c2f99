"""The verb `report`: what the report of a sweep needs besides the sweep's own folder."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from configs.options import Options
from configs.problems import nearest
from configs.schema import ConfigError, Override, from_values
from datasets import get_dataset
from runners import report, sweepdir
from runners.report import cells

log = logging.getLogger("skip_step")


def rewrite(options: Options, overrides: Iterable[Override]) -> None:
    """Write the report of EXP/sweeps/NAME again; of several, side by side, into NAME1+NAME2.

    overrides: where the training images are now, say. Raises ConfigError for an unknown name.
    """
    folders = options.sweeps
    for folder in folders:
        if not folder.is_dir():
            known = sorted(path.parent.name for path in folder.parent.glob("*/sweep.json"))
            hint = nearest(folder.name, known) or f"; sweeps there: {', '.join(known) or 'none'}"
            raise ConfigError(f"--name {folder.name}: no such sweep in {folder.parent}{hint}")
    name = "+".join(name.replace("/", "-") for name in options.names)
    out = folders[0] if len(folders) == 1 else options.exp / "sweeps" / name
    write_report(folders, out, options, overrides)


def write_report(
    folders: Sequence[Path], out: Path, options: Options, overrides: Iterable[Override] = ()
) -> None:
    """The report of these sweeps into `out`, one job at a time."""
    metas = [cells.load(folder).meta for folder in folders]
    training: dict[str, Path] = {}
    for meta in metas:
        for doc, about in meta["docs"].items():
            run = Path(about["run"])
            training.setdefault(doc, run if run.is_dir() else options.logs / doc)
    out.mkdir(parents=True, exist_ok=True)
    board = options.exp / "tensorboard" / "sweeps" / out.name
    with sweepdir.guard(out):
        written = report.write(folders, out, training, _images(metas[0], options, overrides), board)
    names = ", ".join(path.name for path in written if path.parent == out)
    log.info("report in %s: %s; for TensorBoard in %s", out, names, board)


def _images(
    meta: dict[str, Any], options: Options, overrides: Iterable[Override]
) -> Callable[[Sequence[int]], Tensor] | None:
    """The training images by index; None, said in a line, where they are not at hand."""
    about = next(iter(meta["docs"].values()))
    try:
        config = from_values(about["config"], "sweep.json", overrides)
        data = config.data.model_copy(update={"download": False})
        dataset, _ = get_dataset(config.model_copy(update={"data": data}), options.datasets)
        if dataset.fingerprint() != meta["dataset"]["fingerprint"]:
            raise ValueError("these are other images than those of the sweep")
    except (OSError, ValueError, RuntimeError, ImportError) as err:
        reason = " ".join(str(err).split())
        log.warning("no training images at hand, so no nearest neighbours are shown: %s", reason)
        return None
    return dataset.images
