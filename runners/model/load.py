"""A model opened: weights with the network, process and scaling of the data they belong to."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from configs.command.locate import require_run
from configs.command.options import Options
from configs.schema import Config, ConfigError, from_values
from configs.schema.conditions import check_conditions
from configs.schema.specs import Spec
from configs.values import show
from functions.denoiser import Denoiser
from functions.process import Process
from models import build
from runners.machine.precision import laid_out
from runners.model import weights
from runners.model.any_length import of_length
from runners.model.foreign import filled
from runners.model.weights import Weights

log = logging.getLogger("skip_step")

# Keys of the data section that say how pixels enter the network: they belong to the weights.
SCALING = ("rescaled", "logit_transform", "uniform_dequantization", "gaussian_dequantization")
DATA = ("dataset", "category", "image_size", "channels", *SCALING)  # equal in runs of one sweep


@dataclass(frozen=True)
class Model:
    """A network that can be sampled from, in evaluation mode on its device, and its weights.

    config: the command's, as `adopt` changed it; guide: the denoiser that it is guided away from.
    """

    config: Config
    process: Process
    network: nn.Module
    weights: Weights
    guide: Denoiser | None = None

    def denoiser(self, clip: Spec | None = None) -> Denoiser:
        """The config's denoiser; clip: how x0 is kept in range."""
        return self.config.denoiser(self.network, self.process, clip)


def weights_for(config: Config, options: Options) -> Weights:
    """The weights that a command means, of the average that its config names, with its guide's."""
    found = weights.chosen(all_weights(config, options), config.sampling.ema)
    guide = config.sampling.guide
    if not guide:
        return found
    side = config.data.image_size
    return replace(found, guide=weights.guide(guide, options.logs, side))


def all_weights(config: Config, options: Options) -> list[Weights]:
    """All weights in the file that a command means: its averages in order, then the raw ones. With
    sampling.ema_length the one average that is made from a run's snapshots.
    """
    if (length := config.sampling.ema_length) is not None:
        if options.use_pretrained is not None:
            text = "has no effect on foreign weights; leave one of the two out"
            raise ConfigError(f"--ema_length {length:g} {text}")
        return [of_length(require_run(options.run), config.sampling.ckpt_id, length)]
    if (source := options.use_pretrained) is not None:
        return weights.pretrained(source or None, config, options.exp / "pretrained")
    return weights.of_run(require_run(options.run), config.sampling.ckpt_id)


def adopt(config: Config, found: Weights) -> Config:
    """The config with the network, process, classes and scaling of the data that the checkpoint
    holds, or that a foreign file tells; a warning says where they differ.

    Raises ConfigError for images of another shape, for classes and guidance that the model does not
    have, and for a guide that is no version of it.
    """
    config = _adopt(config, found)
    if problems := check_conditions(config):
        raise ConfigError(*(f"{found.source}: {problem}" for problem in problems))
    if found.guide is not None:
        _require_guide(config, found.guide)
    return config


def _adopt(config: Config, found: Weights) -> Config:
    if found.config is None:
        return filled(config, found)
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
    data = config.data.model_copy(update={**scaling, "classes": saved.data.classes})
    dropout = {"label_dropout": saved.training.label_dropout}
    training = config.training.model_copy(update=dropout)
    update = {"model": saved.model, "diffusion": saved.diffusion, "data": data}
    return config.model_copy(update={**update, "training": training})


def _require_guide(config: Config, guide: Weights) -> None:
    """Check that a guide knows the same images, classes and process as the model of this config.
    Raises ConfigError that says what differs.
    """
    own = _of_guide(config, guide)
    what = {"predicts", "mixed_score"}  # may be others: noise is compared with noise
    data = {"image_size", "channels", "classes", *SCALING}
    for section, ours, theirs in (
        ("data", config.data.model_dump(include=data), own.data.model_dump(include=data)),
        (
            "diffusion",
            config.diffusion.model_dump(exclude=what),
            own.diffusion.model_dump(exclude=what),
        ),
    ):
        for key in dict.fromkeys([*ours, *theirs]):
            if (a := ours.get(key)) != (b := theirs.get(key)):
                raise ConfigError(
                    f"--guide {config.sampling.guide}: {guide.source} was trained with "
                    f"{section}.{key} {show(b)}, the model with {show(a)}; take a guide of the same"
                )


def _of_guide(config: Config, guide: Weights) -> Config:
    """The config of a guide: its own, else the model's with what a foreign file tells."""
    if guide.config is None:
        return filled(config, guide)
    return from_values(guide.config, guide.source)


def open_model(config: Config, found: Weights, device: torch.device) -> Model:
    """Build the network that the checkpoint (else the config) describes, and load the weights; the
    same for a guide.
    """
    config = adopt(config, found)
    network, process = _network(config, found, device), config.process()
    if found.guide is None:
        return Model(config, process, network, found)
    own = _of_guide(config, found.guide)
    guide = own.denoiser(_network(own, found.guide, device), process)
    return Model(config, process, network, found, guide)


def _network(config: Config, found: Weights, device: torch.device) -> nn.Module:
    network = build(config.model.name, **config.model.options)
    found.into(network)
    return laid_out(network.eval(), config, device)


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
