"""Sections that build something by name: `{name: ..., **options}`, checked against a signature.

Importing the registries imports torch, so this happens late: `--help` and usage errors do not wait.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from typing import Any

from pydantic import TypeAdapter, ValidationError

from configs.schema.problems import Problem, nearest, show
from configs.schema.sections import Loss, Model, Section
from configs.schema.source import Values

LOSS_ARGUMENTS = ("denoiser", "x0", "t", "noise")  # given by the trainer, not by the config


def registries() -> dict[str, tuple[dict[str, Callable[..., Any]], type[Section]]]:
    """Section -> (what its `name` may be, the schema of its own keys)."""
    from functions.loss import LOSSES
    from models import NETWORKS

    return {"model": (dict(NETWORKS), Model), "loss": (dict(LOSSES), Loss)}


def complete(values: Values) -> list[Problem]:
    """Check the options of every such section and write the signature's defaults into `values`."""
    problems = []
    for section, (registry, schema) in registries().items():
        if isinstance(values.setdefault(section, {}), dict):
            problems += _complete(section, values, registry, schema)
    return problems


def _complete(
    section: str, values: Values, registry: dict[str, Any], schema: type[Section]
) -> list[Problem]:
    given = values[section]
    name = given.get("name", schema.model_fields["name"].default)
    if not isinstance(name, str) or name not in registry:
        known = ", ".join(sorted(registry))
        hint = nearest(name, registry) if isinstance(name, str) else ""
        return [Problem(f"{section}.name", f"{show(name)} is unknown; it should be {known}{hint}")]
    options = signature_options(registry[name])
    if section == "model" and isinstance(values.get("data"), dict):
        _fill_shape(given, options, values)
    problems = [
        _unknown(section, key, name, options, schema)
        for key in given
        if key not in options and key not in schema.model_fields
    ]
    for key, parameter in options.items():
        problems += _option(f"{section}.{key}", given, key, parameter)
    return problems


def signature_options(
    factory: Callable[..., Any], given: tuple[str, ...] = LOSS_ARGUMENTS
) -> dict[str, inspect.Parameter]:
    """The keywords a config may give to `factory`: all but those the program gives itself."""
    parameters = inspect.signature(factory, eval_str=True).parameters
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return {
        key: parameter
        for key, parameter in parameters.items()
        if key not in given and parameter.kind not in variadic
    }


def _fill_shape(given: Values, options: dict[str, inspect.Parameter], values: Values) -> None:
    """The network has the shape of the states where the config does not say it again."""
    data, diffusion = values["data"], values.get("diffusion")
    process = diffusion.get("process") if isinstance(diffusion, dict) else None
    if isinstance(size := data.get("image_size"), int) and "image_size" in options:
        given.setdefault("image_size", size)
    if isinstance(channels := data.get("channels"), int):
        for key in {"in_channels", "out_ch"} & options.keys():
            given.setdefault(key, channels * groups_of(process))


def groups_of(process: Any) -> int:
    """Channels of a process' state per channel of the data; 1 for what is no process."""
    from functions.process import PROCESSES

    return getattr(PROCESSES.get(str(process)), "groups", 1)


def _unknown(
    section: str, key: str, name: str, options: dict[str, inspect.Parameter], schema: type[Section]
) -> Problem:
    known = [*options, *schema.model_fields]
    hint = nearest(key, known) or f"; known here: {', '.join(known)}"
    return Problem(f"{section}.{key}", f"there is no such key with {section}.name {name}{hint}")


def _option(path: str, given: Values, key: str, parameter: inspect.Parameter) -> list[Problem]:
    """Check one option in place, or take the default."""
    if key not in given:
        if parameter.default is inspect.Parameter.empty:
            return [Problem(path, f"is missing; it should be {wanted(parameter.annotation)}")]
        given[key] = parameter.default
        return []
    try:
        value = TypeAdapter(parameter.annotation).validate_json(json.dumps(given[key]), strict=True)
    except ValidationError:
        should = wanted(parameter.annotation)
        return [Problem(path, f"{show(given[key])} is not valid; it should be {should}")]
    given[key] = list(value) if isinstance(value, tuple) else value
    return []


def wanted(annotation: Any) -> str:
    """A type in words."""
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
    if annotation in words:
        return words[annotation]
    schema = TypeAdapter(annotation).json_schema()
    if "enum" in schema:
        return " or ".join(map(str, schema["enum"]))
    if schema.get("type") == "array":
        inner = schema.get("items", {}).get("type")
        return "a list of " + {"integer": "whole numbers", "number": "numbers"}.get(inner, "values")
    kinds = {"integer": "a whole number", "number": "a number", "boolean": "true or false"}
    alternatives = [part.get("type", "value") for part in schema.get("anyOf", [])]
    return " or ".join(kinds.get(kind, kind) for kind in alternatives) or str(annotation)
