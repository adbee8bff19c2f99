"""Sampling: images 0..n_samples-1 into a folder, with or without figures."""

from __future__ import annotations

import logging
import time
from typing import Any

import torch

from configs.command.options import Options
from configs.schema import Config, ConfigError
from runners.machine.processes import Ranks
from runners.machine.signals import stop_request
from runners.measure import reference
from runners.measure.meter import Meter, open_meter
from runners.record import image_folder
from runners.sample.evaluation import write_evaluation
from runners.sample.images import sample_all
from runners.sampling.drawer import Drawer, drawer_for
from runners.sampling.open import open_sampling
from runners.sampling.recipe import recipe_of

log = logging.getLogger("skip_step")


def sample(config: Config, options: Options, ranks: Ranks) -> None:
    """Draw images into EXP/image_samples/FOLDER and, with --fid, measure them."""
    count, folder = config.sampling.n_samples, options.samples
    if options.fid and count < reference.FEWEST:
        raise ConfigError(f"--n_samples {count}: --fid needs at least {reference.FEWEST} images")
    model, walk = open_sampling(config, options, ranks.device)
    config = model.config
    drawer = drawer_for(model, config, walk, ranks.device)
    recipe = recipe_of(model.weights, config, walk, ranks.device.type)

    def prepare() -> None:
        image_folder.claim(folder, recipe, options.overwrite)
        if not options.no_images:
            image_folder.keep_first(folder, count)

    ranks.on_first(prepare)
    log.info("%s", walk)
    meter = open_meter(config, options, ranks) if options.fid else None  # may fail: before drawing
    took = _draw(drawer, config, options, ranks, meter)
    if took["nfe"] and took["nfe"] != recipe.nfe:
        log.info("%.1f network evaluations an image", took["nfe"])
    if ranks.first and not options.no_images:
        log.info("%d images in %s", count, folder)
    if meter is not None:
        figures = meter.figures(drawer.classes)
        if ranks.first:
            write_evaluation(folder, figures, meter, recipe, took, options, ranks)


def _draw(
    drawer: Drawer, config: Config, options: Options, ranks: Ranks, meter: Meter | None
) -> dict[str, Any]:
    """Draw what is missing; seconds, images per second (None where all were there already) and
    network evaluations an image of all processes.
    """
    began = time.perf_counter()
    with stop_request() as stop:
        target = None if options.no_images else options.samples
        rate = sample_all(drawer, config, target, ranks, stop, meter.add if meter else None)
    total = float(ranks.sum(torch.tensor([rate], dtype=torch.float64)))
    nfe, _, _ = drawer.counted(ranks)
    seconds = round(time.perf_counter() - began, 3)
    return {"seconds": seconds, "images_per_second": total or None, "nfe": round(nfe, 3) or None}
