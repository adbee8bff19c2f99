"""Classes asked of samples, guidance towards them, and augmentations that the network is told of:
the keys that say it, read and checked.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from configs.schema.options import part_of, registry
from configs.schema.problems import Problem
from configs.values import either, show

if TYPE_CHECKING:
    from configs.schema import Config

NUMBER = r"(?:\d+\.?\d*(?:[eE][-+]?\d+)?|\.\d+)"
LEVELS = rf"(?P<low>{NUMBER})-(?P<high>{NUMBER})"
GUIDANCE = re.compile(rf"(?P<weight>{NUMBER})(?::{LEVELS})?(?::rescale=(?P<rescale>{NUMBER}))?")


@dataclass(frozen=True)
class Guidance:
    """Weight of the guidance, the noise levels sigma/alpha between which it acts, and the share by
    which its answers are scaled back (see `functions.guidance`).
    """

    weight: float
    low: float = 0.0
    high: float = math.inf
    rescale: float = 0.0

    @property
    def everywhere(self) -> bool:
        """Whether it acts at every noise level."""
        return (self.low, self.high) == (0.0, math.inf)

    def __str__(self) -> str:
        levels = "" if self.everywhere else f":{show(self.low)}-{show(self.high)}"
        scaled = f":rescale={show(self.rescale)}" if self.rescale else ""
        return f"{show(self.weight)}{levels}{scaled}"


def read_guidance(text: str | float) -> Guidance:
    """Read `W`, `W:LOW-HIGH` and either with `:rescale=SHARE`. Raises ValueError with one line."""
    found = GUIDANCE.fullmatch(show(text).strip())
    said = (
        {key: float(number) for key, number in found.groupdict().items() if number} if found else {}
    )
    asked = Guidance(**said) if said else Guidance(math.inf)
    if math.inf in (asked.weight, *said.values()) or asked.low >= asked.high or asked.rescale > 1:
        raise ValueError(
            f"{show(text)} is not valid; it should be a weight, at least 0, and may name the noise "
            "levels between which it acts, as in 2 or 2:0.2-0.8, and a share from 0 to 1 by which "
            "it is scaled back, as in 7.5:rescale=0.7"
        )
    return asked


def read_classes(text: str | int | None, count: int) -> tuple[int, ...]:
    """Read `all`, `3` or `3,5`: classes among 0..count - 1; None means all. Raises ValueError with
    one line.
    """
    if text in (None, "all"):
        return tuple(range(count))
    items = [item.strip() for item in str(text).strip("[] ").split(",")]
    if not all(item.isascii() and item.isdigit() for item in items):
        raise ValueError(f"{show(text)} is not valid; it should be all, or numbers as in 3 or 3,5")
    if beyond := [item for item in items if int(item) >= count]:
        near = f"classes are 0 to {count - 1}, the nearest is {count - 1}"
        raise ValueError(f"there is no class {beyond[0]}; {near}")
    return tuple(map(int, items))


def check_augment(config: Config) -> list[Problem]:
    """Find an augmentation that the network cannot be told of, or not wholly."""
    from datasets.augment import SMALLEST

    data, network = config.data, part_of("model", config.model.model_dump())
    if network and "augment" not in network.facts.shape.values():
        every = registry("network").parts.values()
        able = either(part.name for part in every if "augment" in part.facts.shape.values())
        text = f"needs a network that can be told of augmentations, and {network} cannot"
        text += f"; {able} can" if able else ""
    elif data.random_flip:
        text = "mirrors images itself and tells the network; data.random_flip should be false"
    elif data.image_size < SMALLEST:
        text = f"needs images of at least {SMALLEST} pixels"
    else:
        return []
    return [Problem("data.augment", f"{show(data.augment)} {text}")]


def check_conditions(config: Config) -> list[Problem]:
    """Find what of `sampling.classes`, `guidance` and `guide` is malformed, or asks for what the
    model of this config cannot do.
    """
    sampling, count = config.sampling, int(config.data.classes)
    problems = []
    if sampling.classes is not None and not count:
        text = f"{show(sampling.classes)} names a class, and the model has none: data.classes is"
        problems.append(Problem("sampling.classes", f"{text} false"))
    elif sampling.classes is not None:
        try:
            read_classes(sampling.classes, count)
        except ValueError as err:
            problems.append(Problem("sampling.classes", str(err)))
    if sampling.guidance is not None:
        try:
            problems += _guidance(config, read_guidance(sampling.guidance))
        except ValueError as err:
            problems.append(Problem("sampling.guidance", str(err)))
    elif sampling.guide is not None:
        text = f"{sampling.guide} has no effect without guidance; give its weight, as in 2"
        problems.append(Problem("sampling.guide", text))
    return problems


def _guidance(config: Config, asked: Guidance) -> list[Problem]:
    guide, text = config.sampling.guide, ""
    if asked.weight == 1 and guide is not None:
        return [Problem("sampling.guide", f"{guide} has no effect with guidance 1; leave it out")]
    if asked.weight != 1 and guide is None:
        otherwise = "or a weaker model beside it: --guide DOC"
        if not config.data.classes:
            text = f"needs a model with classes (data.classes is false), {otherwise}"
        elif config.no_class is None:
            text = f"needs a model trained with training.label_dropout above 0, {otherwise}"
    if not text and not asked.everywhere:
        from functions.guidance import need_levels

        need_levels(config.process())
    return [Problem("sampling.guidance", f"{asked} {text}")] if text else []
