"""A model opened: weights with the network, process and scaling of the data they belong to."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from configs.command.locate import require_run
from configs.command.options import Options
from configs.schema import Config, ConfigError, from_values
from configs.values import plain, show
from functions.denoiser import Denoiser
from functions.process import Process
from models import NETWORKS, build
from models.interop import NETWORK_OF
from runners.machine.precision import laid_out
from runners.model import weights
from runners.model.weights import Weights

log = logging.getLogger("skip_step")

# Keys of the data section that say how pixels enter the network: they belong to the weights.
SCALING = ("rescaled", "logit_transform", "uniform_dequantization", "gaussian_dequantization")
DATA = ("dataset", "category", "image_size", "channels", *SCALING)  # equal in runs of one sweep


@dataclass(frozen=True)
class Model:
    """A network that can be sampled from, in evaluation mode on its device, and its weights.

    config: the command's, as `adopt` changed it.
    """

    config: Config
    process: Process
    network: nn.Module
    weights: Weights

    def denoiser(self, clip: bool = False) -> Denoiser:
        """The config's denoiser; clip: x0 is clipped to the data's range."""
        return self.config.denoiser(self.network, self.process, clip)


def weights_for(config: Config, options: Options) -> Weights:
    """The weights that a command means, of the average that its config names."""
    return weights.chosen(all_weights(config, options), config.sampling.ema)


def all_weights(config: Config, options: Options) -> list[Weights]:
    """All weights in the file that a command means: its averages in order, then the raw ones."""
    if (source := options.use_pretrained) is not None:
        return weights.pretrained(source or None, config, options.exp / "pretrained")
    return weights.of_run(require_run(options.run), config.sampling.ckpt_id)


def adopt(config: Config, found: Weights) -> Config:
    """The config with the network, process and scaling of the data that the checkpoint holds; a
    warning says where they differ. Foreign weights bring none.

    Raises ConfigError for images of another shape.
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


def open_model(config: Config, found: Weights, device: torch.device) -> Model:
    """Build the network that the checkpoint (else the config) describes, and load the weights."""
    config = adopt(config, found)
    network = build(config.model.name, **network_options(config, found))
    found.into(network)
    network = laid_out(network.eval(), config, device)
    return Model(config, config.process(), network, found)


def network_options(config: Config, found: Weights) -> dict[str, Any]:
    """Options of the network: the config's, in place of them those that a foreign file tells; a
    warning names where they differ.

    Raises ConfigError where the file holds another network, or one of other channels or classes.
    """
    model, told, source = config.model, found.options or {}, found.source
    if found.layout != "ours" and (name := NETWORK_OF[found.layout]) != model.name:
        text = f"{source} holds weights of the network {name}, in the layout {found.layout}"
        raise ConfigError(f"model.name {model.name}: {text}")
    shape = NETWORKS.parts[model.name].facts.shape
    ours = plain(model.options)
    differing = {key: value for key, value in told.items() if value != ours[key]}
    for key in [key for key in differing if key in shape or key == "num_classes"]:
        text = f"model.{key} {show(ours[key])}: {source} has {show(told[key])}"
        if shape.get(key) == "answer" and told[key] == 2 * ours[key]:
            text += ", the prediction and a variance; it needs model.var_type learned"
        raise ConfigError(text)
    differing.pop("dropout", None)  # which acts in training only
    if differing:
        words = ", ".join(f"{key} {show(value)}" for key, value in differing.items())
        log.warning("%s: its own %s is used, not the config's", source, words)
    return {**model.options, **told}


def scaling_of(config: Config) -> dict[str, Any]:
    """Keys of the data section that say how pixels enter the network."""
    return {key: getattr(config.data, key) for key in SCALING}


def other_data(first: Weights, second: Weights) -> str:
    """Say in what the training data of two runs differ; "" where they do not, or nobody knows."""
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
