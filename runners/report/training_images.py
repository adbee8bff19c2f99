"""The training images of a sweep, looked for where its config says."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path

from configs.schema import Config, Override, from_values
from datasets import get_dataset
from runners.record.sweep_settings import Settings
from runners.report.inline_sheets import Images

log = logging.getLogger("skip_step")


def training_images(settings: Settings, config: Config | None, datasets: Path) -> Images | None:
    """Training images by index; None, with a warning, where they are not at hand.

    config: where the images are now; None for the config of the sweep's first run. datasets: folder
    of the data sets without a path of their own.
    """
    try:
        config = config or trained(settings)
        data = config.data.model_copy(update={"download": False})
        dataset, _ = get_dataset(config.model_copy(update={"data": data}), datasets)
        if dataset.fingerprint() != settings.dataset["fingerprint"]:
            raise ValueError("these are other images than those of the sweep")
    except (OSError, ValueError, RuntimeError, ImportError) as err:
        reason = " ".join(str(err).split())
        log.warning("no training images at hand, so no nearest neighbours are shown: %s", reason)
        return None
    return dataset.images


def trained(settings: Settings, overrides: Iterable[Override] = ()) -> Config:
    """Config of the sweep's first run, with overrides."""
    return from_values(next(iter(settings.docs.values())).config, "sweep.json", overrides)
