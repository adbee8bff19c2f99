"""A command's model and its walk, opened for sampling."""

from __future__ import annotations

import logging

import torch

from configs.command.options import Options
from configs.schema import Config
from runners.model.load import Model, open_model, weights_for
from runners.sampling.walk import Walk, walk_for

log = logging.getLogger("skip_step")


def open_sampling(config: Config, options: Options, device: torch.device) -> tuple[Model, Walk]:
    """Open the model that the command means, find the walk of its config, and log its warnings."""
    model = open_model(config, weights_for(config, options), device)
    walk = walk_for(model.config, model.process)
    for warning in walk.warnings:
        log.warning(warning)
    return model, walk
