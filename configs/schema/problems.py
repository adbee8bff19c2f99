"""Mistakes in a config, as lines: `file: section.key: what is wrong; what would be right`."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, get_type_hints

from pydantic import BaseModel, ValidationError

from configs.schema.source import Source
from configs.values import show, words


class ConfigError(ValueError):
    """Everything that is wrong with a config, one line each."""

    def __init__(self, *lines: str) -> None:
        self.lines = lines
        super().__init__("\n       ".join(self.lines))  # aligned behind "error: "


@dataclass(frozen=True)
class Problem:
    """A dotted key and what is wrong with it."""

    key: str
    text: str

    def line(self, source: Source) -> str:
        """The line to show; a flag that names its key itself does not repeat it."""
        origin = source.origin(self.key)
        return f"{origin}: {self.text}" if origin == f"--{self.key}" else f"{origin}: {self}"

    def __str__(self) -> str:
        return f"{self.key}: {self.text}" if self.key else self.text


def nearest(word: str, known: Iterable[str]) -> str:
    """The end of a sentence, "; did you mean X?", empty where nothing is near."""
    lower = {name.lower(): name for name in known}
    found = difflib.get_close_matches(word.lower(), lower, n=1, cutoff=0.6)
    return f"; did you mean {lower[found[0]]}?" if found else ""


def known_keys(schema: type[BaseModel]) -> list[str]:
    """Every dotted key of a schema, sections themselves left out."""
    keys = []
    for name, field in schema.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            keys += [f"{name}.{key}" for key in known_keys(inner)]
        else:
            keys.append(name)
    return keys


def unknown_key(key: str, siblings: Iterable[str], everywhere: Iterable[str]) -> Problem:
    """`key` does not exist: the same name in another section comes first, then the nearest."""
    section, _, last = key.rpartition(".")
    siblings = list(siblings)
    elsewhere = [other for other in everywhere if other.rpartition(".")[2] == last]
    hint = nearest(key, [f"{section}.{name}".lstrip(".") for name in siblings])
    if elsewhere:
        hint = f"; did you mean {elsewhere[0]}?"
    elif not nearest(last, siblings):
        hint = f"; known {'here' if section else 'sections'}: {', '.join(siblings)}"
    return Problem(key, f"there is no such key{hint}")


def from_pydantic(err: ValidationError, schema: type[BaseModel]) -> list[Problem]:
    """One problem per key, told with what the key's annotation allows."""
    problems: dict[str, Problem] = {}
    for detail in err.errors(include_url=False):
        problem = _one(detail["type"], detail["loc"], detail["input"], schema)
        problems.setdefault(problem.key, problem)
    return list(problems.values())


def _one(kind: str, loc: tuple[int | str, ...], value: Any, schema: type[BaseModel]) -> Problem:
    here: type[BaseModel] = schema
    path: list[str] = []
    for part in map(str, loc):
        path.append(part)
        key = ".".join(path)
        field = here.model_fields.get(part)
        if field is None:
            if kind == "extra_forbidden":
                return unknown_key(key, here.model_fields, known_keys(schema))
            return Problem(
                key,
                f"{show(value)} is no plain value; it should be a number, true or "
                "false, text, or a list of such",
            )
        inner = field.annotation
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            should = words(get_type_hints(here, include_extras=True)[part])
            break
        here, should = inner, "a section, with one `key: value` on each line"
    if kind == "missing":
        return Problem(key, f"is missing; it should be {should}")
    return Problem(key, f"{show(value)} is not valid; it should be {should}")
