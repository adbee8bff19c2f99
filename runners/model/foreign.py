"""Files of other programs: the config that they are opened with, filled from what they tell."""

from __future__ import annotations

import logging
from typing import Any

from configs.schema import Config, ConfigError, from_values
from configs.schema.options import label_rows
from configs.schema.sections import Diffusion, Model
from configs.values import plain, show
from functions.process import PROCESSES
from models import NETWORKS
from runners.model.weights import Weights

log = logging.getLogger("skip_step")

NO_CLASS = 0.1  # share of labels that were "no class" in training, where a file has a row for it


def filled(config: Config, found: Weights) -> Config:
    """The config with the network, process and prediction of a foreign file, where it tells them,
    the classes of its labels, and whether it answers a variance. A warning says where the config
    says something else; it may say nothing but the shape of the images.

    Raises ConfigError for images of another size or channels, and for classes that do not fit.
    """
    told = dict(found.told)
    if config.diffusion.process in told["alike"]:
        told["diffusion"] = None
    values = config.model_dump(mode="json")
    if not config.imports:
        del values["imports"]
    _warn(config, told, found.source)
    values["diffusion"] = _diffusion(config, told["diffusion"])
    if values["diffusion"]["process"] != config.diffusion.process:  # which its own loss belongs to
        values["loss"] = {"name": "simple"}
        values["training"] |= {"times": "antithetic", "weight": "none"}
    values["model"] = _model(config, told)
    values["data"]["augment"] = 0.0  # it acts in training only
    _shape(values, config, found)
    return from_values(values, found.source)


def _diffusion(config: Config, told: dict[str, Any] | None) -> dict[str, Any]:
    own = config.diffusion.model_dump(mode="json")
    if not told:
        return own
    rest = own if told["process"] == own["process"] else {}
    return {**rest, "mixed_score": "none", **told}


def _model(config: Config, told: dict[str, Any]) -> dict[str, Any]:
    """The section of the network: options that follow from the rest of the config are left out."""
    own, name = config.model.model_dump(mode="json"), told["network"]
    shape = NETWORKS.parts[name].facts.shape
    rest = plain(config.model.options) if name == config.model.name else {}
    options = {**rest, **(told["options"] or {})}
    kept = {key: own[key] for key in Model.model_fields}
    if told["var_type"]:
        kept["var_type"] = told["var_type"]
    # a network that can be told of augmentations has weights for it, told or not
    said = {k: v for k, v in options.items() if shape.get(k, "augment") == "augment"}
    return {**kept, "name": name, **said}


def _shape(values: dict[str, Any], config: Config, found: Weights) -> None:
    """Hold the shape of the network's state, answer and labels to the config; write into `values`
    what follows from them. Raises ConfigError.
    """
    told, source = found.told["options"] or {}, found.source
    shape = NETWORKS.parts[found.told["network"]].facts.shape
    kinds: dict[str, Any] = {what: told[key] for key, what in shape.items() if key in told}
    data, model = values["data"], values["model"]
    channels = data["channels"] * getattr(PROCESSES[values["diffusion"]["process"]], "groups", 1)
    if (side := kinds.get("side", data["image_size"])) != data["image_size"]:
        text = f"{source} has images of {side}x{side}; it should be {side}"
        raise ConfigError(f"data.image_size {data['image_size']}: {text}")
    if (theirs := kinds.get("channels", channels)) != channels:
        text = f"{source} takes states of {theirs} channels, not {channels}"
        raise ConfigError(f"data.channels {data['channels']}: {text}")
    if (answer := kinds.get("answer", channels)) not in (channels, 2 * channels):
        text = f"answers {answer} channels to a state of {channels}; it should be {channels}"
        raise ConfigError(f"{source}: its network {text}, or twice as many with a variance")
    if "answer" in kinds and (answer > channels) != (model["var_type"] == "learned"):
        model["var_type"] = "learned" if answer > channels else "fixedlarge"
        log.info("%s: model.var_type is %s by its answer", source, model["var_type"])
    if "classes" in kinds:
        _classes(values, kinds["classes"], found)


def _classes(values: dict[str, Any], rows: int | None, found: Weights) -> None:
    """Take the classes from the rows of a label embedding, where the config names none."""
    data, training = values["data"], values["training"]
    if rows is not None and not data["classes"]:
        none = found.told["no_class"]
        data["classes"] = rows - none
        training["label_dropout"] = NO_CLASS if none else 0.0
        log.info("%s: data.classes is %d by its labels", found.source, data["classes"])
    if (own := label_rows(data["classes"], training)) != rows:
        text = f"model.num_classes {show(own)}: {found.source} has {show(rows)}"
        raise ConfigError(f"{text}; data.classes and training.label_dropout decide it")


def _warn(config: Config, told: dict[str, Any], source: str) -> None:
    """Say what the file decides in place of the config: not of sections left to their defaults."""
    mine, name = NETWORKS.parts[config.model.name], told["network"]
    shape, lines = mine.facts.shape, []
    own = {k: v for k, v in plain(config.model.options).items() if k not in shape}
    if name != mine.name:
        lines.append(f"its network {name} is used, not the config's {mine.name}")
    elif words := _differing(told["options"] or {}, own, "dropout"):
        lines.append(f"its own {words} is used, not the config's")
    lines = [] if own.items() <= plain(mine.defaults).items() else lines
    section = plain(config.diffusion.model_dump())
    process = PROCESSES.parts[config.diffusion.process]
    default = {key: field.default for key, field in Diffusion.model_fields.items()}
    default |= plain(process.defaults)
    if (words := _differing(told["diffusion"] or {}, section)) and section != default:
        lines.append(f"its own {words} is used, not the config's")
    for line in lines:
        log.warning("%s: %s", source, line)


def _differing(told: dict[str, Any], own: dict[str, Any], *but: str) -> str:
    """Name the keys that a file says otherwise, with its values; but: keys that do not count."""
    return ", ".join(
        f"{key} {show(value)}"
        for key, value in told.items()
        if key in own and own[key] != value and key not in but
    )
