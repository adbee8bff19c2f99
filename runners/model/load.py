"""Weights, and the network, process and scaling of the data that belong to them."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from configs.command.options import Options
from configs.schema import Config, ConfigError, from_values
from functions.denoiser import Denoiser, Scaled
from functions.process import Process
from models import build
from runners.machine.precision import laid_out
from runners.model import weights
from runners.record import run_folder
from runners.sampling.drawer import Drawer
from runners.sampling.walk import Walk, scale_for

log = logging.getLogger("skip_step")

# How pixels enter the model: keys of the config's data section that belong to the weights.
SCALING = ("rescaled", "logit_transform", "uniform_dequantization", "gaussian_dequantization")
DATA = ("dataset", "category", "image_size", "channels", *SCALING)  # what compared runs share


@dataclass(frozen=True)
class Model:
    """A network that can be sampled from; config: the command's, as `adopt` changed it."""

    config: Config
    process: Process
    network: nn.Module

    def denoiser(self, clip: bool = False) -> Denoiser:
        """The network as the process' denoiser, its x0 clipped to the data's range if wanted."""
        mixed = self.config.diffusion.mixed_score
        return Denoiser(self.network, self.process, clip=1.0 if clip else None, mixed=mixed)

    def drawer(self, config: Config, walk: Walk, device: torch.device) -> Drawer:
        """What draws the config's images along this walk, its eps scale included."""
        denoiser, data = self.denoiser(config.sampler().clip), config.data
        if scale := scale_for(config, self.process):
            denoiser = Scaled(denoiser, scale)
        shape = (data.channels, data.image_size, data.image_size)
        precision = config.sampling.precision
        return Drawer(denoiser, walk.plan, shape, config.seed, device, precision)


def weights_for(
    config: Config, options: Options, rate: float | str | None = None
) -> weights.Weights:
    """The weights a command means. rate: of the average; None as the config has it."""
    rate = rate if rate is not None else config.sampling.ema
    if options.use_pretrained is not None:
        source, home = options.use_pretrained or None, options.exp / "pretrained"
        return weights.pretrained(source, config, home, rate)
    run = run_folder.require_run(options.run)
    return weights.of_run(run, config.sampling.ckpt_id, rate)


def adopt(config: Config, found: weights.Weights) -> Config:
    """The config with network, process and scaling of the data from the checkpoint, said where they
    differ; foreign weights bring none. Raises ConfigError for images of another shape.
    """
    if found.config is None:
        return config
    saved, source = from_values(found.config, found.source), found.source
    for section in ("model", "diffusion"):
        if getattr(saved, section) != getattr(config, section):
            log.warning("%s: its own %s section is used, not the config's", source, section)
    for key in ("image_size", "channels"):
        theirs, ours = getattr(saved.data, key), getattr(config.data, key)
        if theirs != ours:
            raise ConfigError(f"data.{key} {ours}: {source} was trained with {theirs}")
    scaling = {key: getattr(saved.data, key) for key in SCALING}
    if scaling != scaling_of(config):
        log.warning("%s: its own scaling of the data is used, not the config's", source)
    data = config.data.model_copy(update=scaling)
    update = {"model": saved.model, "diffusion": saved.diffusion, "data": data}
    return config.model_copy(update=update)


def open_model(config: Config, found: weights.Weights, device: torch.device) -> Model:
    """The network the weights belong to: a checkpoint of ours says which one that is."""
    config = adopt(config, found)
    network = build(config.model.name, **(found.options or config.model.options))
    found.into(network)
    return Model(config, config.process(), laid_out(network.eval(), config, device))


def scaling_of(config: Config) -> dict[str, Any]:
    """How pixels enter the model."""
    return {key: getattr(config.data, key) for key in SCALING}


def other_data(first: weights.Weights, second: weights.Weights) -> str:
    """In what the data of two runs differ, "" where they do not or it is not known."""
    if first.config is None or second.config is None:
        return ""
    one, two = first.config["data"], second.config["data"]
    differing = [
        f"data.{key} ({one.get(key)} and {two.get(key)})"
        for key in DATA
        if one.get(key) != two.get(key)
    ]
    a, b = first.data or {}, second.data or {}
    if not differing and any(a[key] != b[key] for key in a.keys() & b.keys()):
        differing = [f"their training images ({a['images']} and {b['images']} of them)"]
    return ", ".join(differing)
