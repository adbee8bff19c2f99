"""YAML and overrides -> a Config.

All mistakes are reported at once, each as `file: section.key: what is wrong; what would be right`.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from configs import imports
from configs.parts import Part
from configs.schema import checks, options, specs
from configs.schema.config import Config
from configs.schema.problems import ConfigError, Problem, from_pydantic, nearest
from configs.schema.sections import PLUGS
from configs.schema.source import Source, SourceError, Values, parse, read
from configs.values import show

log = logging.getLogger("skip_step")

HERE = Path(__file__).parents[1]
Override = tuple[str, str] | tuple[str, str, str]
STEPS = {"sampling.nfe": "sampling.timesteps", "sampling.timesteps": "sampling.nfe"}
EXCLUSIVE = {
    **STEPS,
    **{"model.ema_rate": "model.ema_half_life", "model.ema_half_life": "model.ema_rate"},
    **{"sampling.ema": "sampling.ema_length", "sampling.ema_length": "sampling.ema"},
}


def load(
    path_or_name: str | Path,
    overrides: Iterable[Override] = (),
    consent: bool = False,
    foreign: bool = False,
) -> Config:
    """Read a config file, or one that `find` finds by name, and lay the overrides over it.

    An override is (dotted key, YAML text) or (dotted key, YAML text, flag to name in errors).
    consent: the command line names the file, so the files that its `imports:` names are imported.
    foreign: as `checks.check` has it. Raises ConfigError with every mistake found.
    """
    path = find(path_or_name)
    try:
        source = read(path)
    except SourceError as err:
        raise ConfigError(str(err)) from err
    return _resolve(source, overrides, consent, foreign)


def from_values(values: Values, name: str, overrides: Iterable[Override] = ()) -> Config:
    """Resolve values at hand, such as a checkpoint's; `name` is what errors call them."""
    source = Source(name)
    source.merge(values, name)
    return _resolve(source, overrides, consent=False)


def find(path_or_name: str | Path) -> Path:
    """A path; else a name, with or without .yml, in ./configs and in the program's configs.

    Raises ConfigError with the nearest name there is.
    """
    given = Path(path_or_name)
    folders = [Path(), Path("configs"), HERE]
    names = [given, given.with_name(given.name + ".yml")] if given.name else []
    found = (folder / name for name in names for folder in folders if (folder / name).is_file())
    if path := next(found, None):
        return path
    if given.is_dir():
        raise ConfigError(f"--config {given}: is a folder; it should be a YAML file")
    known = sorted({file.name for folder in folders[1:] for file in folder.glob("*.yml")})
    hint = nearest(given.name, known) or f"; there are {', '.join(known)}"
    raise ConfigError(f"--config {given}: there is no such file, here or in configs/{hint}")


def _resolve(
    source: Source, overrides: Iterable[Override], consent: bool, foreign: bool = False
) -> Config:
    """consent: the files of `imports:` are imported. foreign: as `checks.check` has it."""
    overrides = list(overrides)
    typed = {key for key, *_ in overrides}
    missing = _import(source, consent)
    chosen = _chosen(source.values)
    lines = _override(source, overrides, typed)
    values = _whole_numbers(source.values, [])
    problems: list[Problem] = []
    _spell(values)
    for section, part in chosen.items():
        key = f"{section}.{PLUGS[section][0]}"
        own = values.get(section)
        if key in typed and isinstance(own, dict):
            for line in options.forget(section, own, part, typed):
                log.warning("%s", line)
    problems += options.complete(values)
    config = None
    try:
        config = Config.model_validate_json(json.dumps(values, default=str), strict=True)
    except ValidationError as err:
        known = {problem.key for problem in problems}
        problems += [p for p in from_pydantic(err, Config) if p.key not in known]
    if config is not None and not problems:
        problems = checks.check(config, typed, foreign)
    lines += [problem.line(source) for problem in problems]
    if missing and (lines or config is None):  # the rest follows from it
        raise ConfigError(*missing)
    for line in missing:  # its parts have become part of the program, or stand in another import
        log.warning("%s, if its parts are not those that have their names now", line)
    if lines or config is None:
        raise ConfigError(*lines)
    return config


def _import(source: Source, consent: bool) -> list[str]:
    """Run the files that `imports:` names, where the command line consents. Returns a line for each
    file that a saved config was made with and that is not here. Raises ConfigError with one line.
    """
    wanted = source.values.pop("imports", None) or []
    if not isinstance(wanted, list):
        raise ConfigError(f"{source.name}: imports: should be a list of files")
    try:
        for item in wanted:
            if isinstance(item, str) and consent:
                imports.run(item, f"{source.name}: imports:")
            elif isinstance(item, str):
                text = f"imports: {show(item)} is not imported by itself; add --import {show(item)}"
                raise ConfigError(f"{source.name}: {text}")
            elif not (
                isinstance(item, dict)
                and item.keys() == {"file", "sha256"}
                and all(isinstance(value, str) for value in item.values())
            ):
                text = f"imports: {show(item)} should be the name of a file"
                raise ConfigError(f"{source.name}: {text}")
        records = [item for item in wanted if isinstance(item, dict)]
    except imports.ImportFileError as err:
        raise ConfigError(str(err)) from err
    missing, warnings = imports.demand(records, source.name)
    for warning in warnings:
        log.warning("%s", warning)
    if records:
        source.values["imports"] = records
    return missing


def _chosen(values: Values) -> dict[str, Part[Any, Any]]:
    """The parts that a file names, before the command line may choose others."""
    given = {section: values.get(section) or {} for section in PLUGS}
    found = {
        section: options.part_of(section, own)
        for section, own in given.items()
        if isinstance(own, dict) and isinstance(own.get(PLUGS[section][0], ""), str)
    }
    return {section: part for section, part in found.items() if part is not None}


def _override(source: Source, overrides: Sequence[Override], typed: set[str]) -> list[str]:
    """Lay the overrides over the file; what cannot be laid is returned as lines."""
    lines = []
    for key, text, *flag in overrides:
        name = flag[0] if flag else f"--{key}"
        try:
            source.put(key, parse(text, name), name)
            if EXCLUSIVE.get(key, key) not in typed:  # a file's steps give way to a typed nfe
                source.put(EXCLUSIVE[key], None, name)
            if key == "sampling.skip_type" and not typed & STEPS.keys():
                for other in STEPS if _says_steps(parse(text, name)) else ():
                    source.put(other, None, name)
        except SourceError as err:
            lines.append(str(err))
    return lines


def _says_steps(grid: Any) -> bool:
    """Whether the text names a time grid that says its own number of steps, as respaced:250."""
    try:
        return isinstance(grid, str) and specs.grid(grid).part.facts.count is not None
    except specs.SpecError:
        return False  # it is told with all other mistakes


def _whole_numbers(value: Any, around: Sequence[int]) -> Any:
    """A deep copy in which 1e5 is as good as 100000."""
    if id(value) in around:
        raise ConfigError("a YAML alias contains itself; write the value out")
    around = [*around, id(value)]
    if isinstance(value, dict):
        return {key: _whole_numbers(item, around) for key, item in value.items()}
    if isinstance(value, list):
        return [_whole_numbers(item, around) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _spell(values: Values) -> None:
    """Take the DDIM repository's `model.type: simple`, and sections without keys."""
    for section in [key for key, value in values.items() if value is None]:
        if section in Config.model_fields and section not in ("seed", "comment"):
            values[section] = {}
    model = values.get("model")
    if isinstance(model, dict) and "type" in model:
        model.setdefault("name", model["type"])
        if model["name"] == model["type"]:
            del model["type"]
