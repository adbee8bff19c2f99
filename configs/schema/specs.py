"""Spec text: `name[:option[:option ...]]`, options in the signature's order or as `key=value`.

Names a sampler, a time grid, an eps scale, a metric, a density of times, a loss weight or a feature
extractor in configs, flags, records and reports. The registries import torch, so they come late.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Self

from configs import values
from configs.parts import Part, PartError, Registry
from configs.schema.problems import nearest


class SpecError(ValueError):
    """A text that names nothing, or an option that does not exist; one line."""


@dataclass(frozen=True)
class Spec:
    """A part with options. given: the options that were set.

    str() is the canonical text: only options that differ from their defaults.
    """

    part: Part[Any, Any]
    given: dict[str, Any]

    @property
    def name(self) -> str:
        """The part's name."""
        return self.part.name

    @property
    def build(self) -> Callable[..., Any]:
        """Builder of the part; takes what the program gives, and `options`."""
        return self.part.build

    @property
    def options(self) -> dict[str, Any]:
        """Every option with its value."""
        return {**self.part.defaults, **self.given}

    @property
    def record(self) -> dict[str, Any]:
        """The options as JSON can hold them."""
        return values.plain(self.options)

    def with_option(self, key: str, text: str) -> Self:
        """The spec with one more option. Raises SpecError for a value that does not fit it."""
        try:
            value = values.read(self.part.options[key].annotation, text)
        except ValueError as err:
            raise SpecError(f"{key} {text!r} is not valid; it should be {err}") from None
        return replace(self, given={**self.given, key: value})

    def __str__(self) -> str:
        parts, options = [self.name], self.options
        for i, (key, known) in enumerate(self.part.options.items()):
            if options[key] != known.default:
                named = "" if i + 1 == len(parts) else f"{key}="
                value = options[key]
                parts.append(named + ("none" if value is None else values.show(value)))
        return ":".join(parts)


def parse(text: str, registry: Registry[Any, Any], whole: bool = True) -> Spec:
    """Read a spec. whole: every option without a default must be there.

    Raises SpecError with the nearest name, or with what would be right.
    """
    first, *said = re.split("[:,]", text.strip())
    try:
        part, implied = registry.find(first)
    except PartError as err:
        raise SpecError(str(err)) from None
    kinds = [values.words(option.annotation) for option in part.options.values()]
    if said and kinds == ["text"]:  # a single text may hold anything, as in respaced:10,15,20
        said = [text.strip()[len(first) + 1 :]]
    said = [*filter(None, implied.split(":")), *said]
    spec, known = Spec(part, {}), list(part.options)
    for i, item in enumerate(said):
        key, named, value = item.rpartition("=")
        if not named and len(spec.given) == i < len(known):
            key = known[i]
        if key not in known:
            has = f"the options {', '.join(known)}" if known else "no options"
            text = f"{text}: {item!r} fits no option; {part.name} has {has}{nearest(key, known)}"
            raise SpecError(text)
        if key in spec.given:
            raise SpecError(f"{text}: {key} is given twice")
        spec = spec.with_option(key, value)
    if whole and (lacks := [key for key in known if key not in spec.options]):
        should = values.words(part.options[lacks[0]].annotation)
        raise SpecError(f"{text}: {lacks[0]} is missing; it should be {should}")
    return spec


def sampler(text: str) -> Spec:
    """A sampler."""
    from functions.samplers import SAMPLERS

    return parse(text, SAMPLERS)


def grid(text: str) -> Spec:
    """A time grid."""
    from functions.grids import GRIDS

    return parse(text, GRIDS)


def scale(text: str) -> Spec | None:
    """An eps scale; None for `none`."""
    from functions.scales import SCALES

    return None if text.strip() == "none" else parse(text, SCALES)


def clip(text: bool | str) -> Spec | None:
    """A clip; None for `false`. `true` is `static`."""
    from functions.clips import CLIPS

    if isinstance(text, bool):
        return parse("static", CLIPS) if text else None
    return parse(text, CLIPS)


def times(text: str) -> Spec:
    """A density of training times."""
    from functions.times import TIMES

    return parse(text, TIMES)


def weight(text: str) -> Spec:
    """A loss weight."""
    from functions.weights import WEIGHTS

    return parse(text, WEIGHTS)


def anneal(text: str) -> Spec | None:
    """A learning-rate anneal; None for `none`."""
    from functions.anneals import ANNEALS

    return None if text.strip() == "none" else parse(text, ANNEALS)


def metric(text: str) -> Spec:
    """A metric."""
    from functions.metrics import METRICS

    return parse(text, METRICS)


def extractor(text: str) -> Spec:
    """A feature extractor."""
    from models.features import EXTRACTORS

    return parse(text, EXTRACTORS)
