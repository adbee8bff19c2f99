"""Spec text: `name[:option[:option ...]]`, options in the signature's order or as `key=value`.

What a sampler, a grid of times or an eps scale is called in configs, flags, records and reports.
The signature of what is built is the schema. The registries import torch, so they come late.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from inspect import Parameter
from typing import Any, Self, get_args

from pydantic import TypeAdapter, ValidationError

from configs.schema.components import signature_options, wanted
from configs.schema.problems import nearest

ALIASES = {"generalized": "ddim", "ddpm_noisy": "ddpm:large"}  # the DDIM repository's names
GIVEN = ("process", "grid", "steps")  # by the program, not by a spec
LEARNED = "needs a network that predicts variances, and none here does"


class SpecError(ValueError):
    """A text that names nothing, or an option that does not exist; one line."""


@dataclass(frozen=True)
class Spec:
    """What is called with which options: build(..., **options). given: the options that were said.

    str() is the canonical text: only options that differ from the default.
    """

    build: Callable[..., Any]
    name: str
    given: dict[str, Any]

    @property
    def known(self) -> dict[str, Parameter]:
        """The options there are, in the order of the signature."""
        return signature_options(self.build, GIVEN)

    @property
    def options(self) -> dict[str, Any]:
        """Every option with its value."""
        return {key: self.given.get(key, known.default) for key, known in self.known.items()}

    @property
    def record(self) -> dict[str, Any]:
        """The options as JSON can hold them: infinity as text."""
        return {key: value if _plain(value) else str(value) for key, value in self.options.items()}

    def with_option(self, key: str, text: str) -> Self:
        """The same with one more option. Raises SpecError for a value that does not fit it."""
        return replace(self, given={**self.given, key: _value(key, text, self.known[key])})

    def __str__(self) -> str:
        parts, values = [self.name], self.options
        for i, (key, known) in enumerate(self.known.items()):
            if values[key] != known.default:
                parts.append(("" if i + 1 == len(parts) else f"{key}=") + show(values[key]))
        return ":".join(parts)


def parse(
    text: str, registry: Mapping[str, Callable[..., Any]], aliases: Mapping[str, str] | None = None
) -> Spec:
    """The spec a text means. Raises SpecError with the nearest name, or what would be right."""
    aliases = aliases or {}
    first, *said = re.split("[:,]", text.strip())
    names = [*registry, *aliases]
    if first not in names:
        raise SpecError(
            f"{first!r} is unknown; it should be {either(names)}{nearest(first, names)}"
        )
    name, *parts = aliases.get(first, first).split(":") + said
    spec = Spec(registry[name], name, {})
    known = list(spec.known)
    for i, part in enumerate(parts):
        key, named, value = part.rpartition("=")
        if not named and len(spec.given) == i < len(known):
            key = known[i]
        if key not in known:
            has = f"{name} has " + (f"the options {', '.join(known)}" if known else "no options")
            raise SpecError(f"{text}: {part!r} fits no option; {has}{nearest(key, known)}")
        if key in spec.given:
            raise SpecError(f"{text}: {key} is said twice")
        spec = spec.with_option(key, value)
    return spec


def sampler(text: str) -> Spec:
    """One of SAMPLERS, or a name of the DDIM repository's."""
    from functions.samplers import SAMPLERS

    return parse(text, SAMPLERS, ALIASES)


def grid(text: str) -> Spec:
    """One of GRIDS."""
    from functions.grids import GRIDS

    return parse(text, GRIDS)


def eps_scale(text: str) -> Spec | None:
    """One of SCALES; None for `none`."""
    from functions.scales import SCALES

    return None if text.strip() == "none" else parse(text, {**SCALES, "none": lambda: None})


def is_adaptive(name: str) -> bool:
    """Whether a sampler chooses its own steps."""
    from functions.samplers import SAMPLERS

    return name in SAMPLERS and SAMPLERS.parts[name].facts.adaptive


def show(value: Any) -> str:
    """A value as it is written in a spec."""
    if value is None or isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) and float(f"{value:g}") == value else str(value)


def either(names: Iterable[str]) -> str:
    """Names as `a, b or c`."""
    *first, last = sorted(names)
    return f"{', '.join(first)} or {last}" if first else last


def _value(key: str, text: str, known: Parameter) -> Any:
    if key == "variance" and text == "learned":
        raise SpecError(f"variance {text} {LEARNED}; it should be large or small")
    if text in ("none", "null") and type(None) in get_args(known.annotation):
        return None
    try:
        value = TypeAdapter(known.annotation).validate_strings(text)
    except ValidationError:
        value = math.nan
    if value != value:
        should = wanted(known.annotation)
        raise SpecError(f"{key} {text!r} is not valid; it should be {should}")
    return value


def _plain(value: Any) -> bool:
    return not isinstance(value, float) or math.isfinite(value)
