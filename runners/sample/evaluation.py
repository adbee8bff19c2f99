"""Figures of samples: printed, and written to eval.json with everything they were made with."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from configs.command.options import Options
from functions import metrics
from runners.machine.processes import Ranks
from runners.machine.versions import versions
from runners.measure.meter import Meter
from runners.record import files
from runners.record.recipe import Recipe

log = logging.getLogger("skip_step")


def write_evaluation(
    folder: Path,
    figures: Mapping[str, float | None],
    meter: Meter,
    recipe: Recipe,
    took: Mapping[str, Any],
    options: Options,
    ranks: Ranks,
) -> None:
    """Write FOLDER/eval.json, an earlier one moved aside, and print the figures.

    took: seconds, images_per_second and nfe, as measured.
    """
    record = {
        "figures": figures,
        "n_samples": meter.config.sampling.n_samples,
        **({} if meter.by_class is None else {"by_class": meter.by_class}),
        "reference": meter.described(),
        "recipe": recipe.to_json(),
        "took": took,
        "device": ranks.device_name,
        "processes": ranks.world,
        "versions": versions(),
        "command": options.command,
        "date": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }
    path = folder / "eval.json"
    if path.exists():
        files.move_aside(path)
    files.write_text(path, json.dumps(record, indent=1) + "\n")
    for label, value in figures.items():
        print(f"{label:>28}  {'-' if value is None else f'{value:.6g}'}", flush=True)
    distance = metrics.METRICS.parts["distance"].facts.label
    yardstick = metrics.label(distance, meter.extractor, len(meter.reference.features) // 2)
    print(f"{yardstick + ' of real halves':>28}  {meter.reference.split_distance:.6g}")
    log.info("written to %s", path)
