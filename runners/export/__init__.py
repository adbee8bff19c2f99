"""Export: a trained model as a folder that other programs open."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from configs.command.options import Options
from configs.schema import Config, ConfigError
from runners.export import hub
from runners.export.card import card
from runners.export.layouts import LAYOUTS, write
from runners.model import weights
from runners.model.load import all_weights, open_model

log = logging.getLogger("skip_step")


def export(config: Config, options: Options) -> None:
    """Write the weights that sampling would take to the folder `options.export`, in a layout, with
    the config and a model card; then upload it where `options.push_to_hub` says so. With
    `options.dry_run` only print which files would be written and sent.

    Raises ConfigError, before anything is written, for a folder that holds something and for a
    model that the layout cannot express; OSError for an upload that fails.
    """
    folder = Path(options.export or "")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        text = "exists and is not empty; nothing is overwritten, name another folder"
        raise ConfigError(f"--export {folder}: {text}")
    repo = options.push_to_hub
    api = hub.api(repo) if repo and not options.dry_run else None
    found = weights.chosen(all_weights(config, options), config.sampling.ema)
    model = open_model(config, found, torch.device("cpu"))
    files = LAYOUTS[options.layout](model)
    files["README.md"] = card(model, options, list(files))
    with _whole(folder, options.dry_run) as partial:
        write(files, partial)
        for name in files:
            print(f"{(partial / name).stat().st_size:>14,} bytes  {name}")
    if options.dry_run:
        sent = f"; https://huggingface.co/{repo} would receive these files" if repo else ""
        print(f"nothing is written to {folder}{sent}")
        return
    log.info("%s, step %s, written to %s", found.average, found.step, folder)
    if api is not None and repo:
        hub.push(api, folder, repo)


@contextmanager
def _whole(folder: Path, dry_run: bool) -> Iterator[Path]:
    """A temporary folder that gets the name `folder` once everything in it is written. dry_run: it
    lies elsewhere and is deleted.
    """
    if dry_run:
        with tempfile.TemporaryDirectory() as elsewhere:
            yield Path(elsewhere)
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    partial.mkdir()
    try:
        yield partial
        if folder.exists():
            folder.rmdir()  # empty; fails where someone has filled it meanwhile
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
