"""The JSON schema of a config file, for editors: the sections, and every part with its options."""

from __future__ import annotations

import json
from typing import Any

from pydantic import TypeAdapter

from configs.parts import Part
from configs.schema.config import Config
from configs.schema.options import registry
from configs.schema.sections import PLUGS


def json_schema() -> str:
    """The schema as JSON text: which keys a section has follows from the part that it names."""
    schema = Config.model_json_schema()
    for section, (key, kind) in PLUGS.items():
        name = schema["properties"][section]["$ref"].rpartition("/")[2]
        found, parts = schema["$defs"][name], registry(kind).parts
        found["properties"][key]["enum"] = registry(kind).names
        found["allOf"] = [_options(key, part) for part in parts.values()]
        found["additionalProperties"] = True
    schema["required"] = ["data"]
    return json.dumps(schema, indent=1)


def _options(key: str, part: Part[Any, Any]) -> dict[str, Any]:
    """`if` the section names this part, `then` its options are these."""
    options = {
        option: {**TypeAdapter(parameter.annotation).json_schema(), **_default(parameter.default)}
        for option, parameter in part.options.items()
    }
    properties = {key: {"const": part.name}}
    return {
        "if": {"properties": properties, "required": [key]},
        "then": {"title": part.facts.title, "properties": options},
    }


def _default(value: Any) -> dict[str, Any]:
    return {"default": value} if isinstance(value, bool | int | float | str | tuple) else {}
