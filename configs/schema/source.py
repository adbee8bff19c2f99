"""Reader of YAML: text -> plain values, and the file or flag that each came from.

Stricter than PyYAML's own safe loader where that harms people: `2e-4` is a number, a key written
twice is refused, dates stay text. `extends: FILE` at the top of a file takes over another file's
values; sections are merged, every other value is replaced. FILE lies beside it or is one of ours.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

Values = dict[str, Any]


class SourceError(ValueError):
    """A file or an override that cannot be read; the text names it."""


class _Loader(yaml.SafeLoader):
    """Safe loading with a YAML 1.2 float, unique keys and no dates."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise _problem(key_node, f"the key {key!r} is not text")
            if key in seen:
                raise _problem(key_node, f"the key {key!r} is written twice")
            seen.add(key)
        return super().construct_mapping(node, deep)


def _problem(node: yaml.Node, what: str) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=what, problem_mark=node.start_mark)


_FLOAT = re.compile(
    r"[-+]?(?:[0-9][0-9_]*\.[0-9_]*(?:[eE][-+]?[0-9]+)?|\.[0-9]+(?:[eE][-+]?[0-9]+)?"
    r"|[0-9][0-9_]*[eE][-+]?[0-9]+|\.(?:inf|Inf|INF))$|\.(?:nan|NaN|NAN)$"
)
_Loader.yaml_implicit_resolvers = {
    first: [pair for pair in pairs if not pair[0].endswith((":timestamp", ":float"))]
    for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+0123456789."))


@dataclass
class Source:
    """Nested values; `origins` names the file or flag that set a dotted key; `name` is the file."""

    name: str
    values: Values = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)

    def origin(self, key: str) -> str:
        """Name the file or flag that set this key, or the nearest section around it."""
        parts = key.split(".")
        candidates = (".".join(parts[:n]) for n in range(len(parts), 0, -1))
        return next((self.origins[c] for c in candidates if c in self.origins), self.name)

    def merge(self, values: Values, origin: str) -> None:
        """Lay `values` over those that are there."""
        self._merge(self.values, values, origin, "")

    def put(self, key: str, value: Any, origin: str) -> None:
        """Set one dotted key. Raises SourceError where a part of it is a value already."""
        *sections, last = key.split(".")
        here = self.values
        for depth, section in enumerate(sections):
            path = ".".join(sections[: depth + 1])
            if here.get(section) is None:
                here[section] = {}
                self.origins[path] = origin
            here = here[section]
            if not isinstance(here, dict):
                raise SourceError(f"{origin}: {path} is a value and holds no keys")
        here[last] = value
        self.origins[key] = origin

    def _merge(self, into: Values, values: Values, origin: str, prefix: str) -> None:
        for key, value in values.items():
            path = prefix + key
            self.origins[path] = origin
            if isinstance(value, dict) and isinstance(into.get(key), dict):
                self._merge(into[key], value, origin, path + ".")
            elif isinstance(value, dict):
                into[key] = {}
                self._merge(into[key], value, origin, path + ".")
            else:
                into[key] = value


def parse(text: str, where: str) -> Any:
    """The value of YAML text. Raises SourceError with `where` and the line of a mistake."""
    try:
        return yaml.load(text, _Loader)  # noqa: S506  (a SafeLoader)
    except yaml.MarkedYAMLError as err:
        mark = err.problem_mark or err.context_mark
        if "python/" in (err.problem or ""):
            raise SourceError(
                f"{where}: holds Python objects, as configs saved by the DDIM repository do, and "
                "those are never loaded: give the YAML file the run was started with"
            ) from err
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise SourceError(f"{where}: {place}{err.problem or err.context}") from err
    except (yaml.YAMLError, ValueError) as err:
        raise SourceError(f"{where}: not YAML: {' '.join(str(err).split())}") from err


def read(path: Path) -> Source:
    """A config file with everything it extends. Raises SourceError naming the file at fault."""
    source = Source(path.name)
    for file in reversed(_chain(path)):
        values = _values(file)
        values.pop("extends", None)
        if isinstance(wanted := values.get("imports"), list):  # each lies beside the file it is in
            beside = [file.parent / item if isinstance(item, str) else item for item in wanted]
            values["imports"] = [str(item) if isinstance(item, Path) else item for item in beside]
        source.merge(values, file.name)
    return source


def _chain(path: Path) -> list[Path]:
    """The file, the one it extends, and so on."""
    chain: list[Path] = []
    following: Path | None = path
    while following is not None:
        if following.resolve() in [file.resolve() for file in chain]:
            loop = " -> ".join(file.name for file in [*chain, following])
            raise SourceError(f"{path.name}: extends: goes in a circle: {loop}")
        chain.append(following)
        base = _values(following).get("extends")
        if base is not None and not isinstance(base, str):
            raise SourceError(f"{following.name}: extends: {base!r} is not the name of a file")
        following = _base(following, base) if base else None
    return chain


def _base(file: Path, name: str) -> Path:
    """The file called `name` beside the one that extends it, else among the program's own."""
    for folder in (file.parent, Path(__file__).parents[1]):
        if (folder / name).is_file():
            return folder / name
    raise SourceError(f"{file.name}: extends: there is no file {file.parent / name}")


def _values(path: Path) -> Values:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as err:
        reason = err.strerror if isinstance(err, OSError) else "it is not UTF-8 text"
        raise SourceError(f"{path}: cannot be read: {reason}") from err
    values = parse(text, path.name)
    if values is None:
        raise SourceError(f"{path.name}: the file is empty; it should hold sections such as data:")
    if not isinstance(values, dict):
        raise SourceError(f"{path.name}: it should hold sections such as data: and model:")
    return values
