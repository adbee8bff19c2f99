"""YAML and overrides -> a frozen, validated Config; and a Config -> YAML that loads again.

All mistakes are reported at once, each as `file: section.key: what is wrong; what would be right`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import yaml
from pydantic import Field, ValidationError

from configs.schema import checks, specs
from configs.schema.problems import ConfigError, Problem, from_pydantic, nearest, show
from configs.schema.sections import (
    FIXED_SHAPES,
    Data,
    Diffusion,
    Evaluation,
    Loss,
    Model,
    Optim,
    Sampling,
    Section,
    Training,
)
from configs.schema.source import Source, SourceError, Values, parse, read

__all__ = ["Config", "ConfigError", "Sampler", "dump", "find", "from_values", "load"]

if TYPE_CHECKING:
    from functions.process import Process

HERE = Path(__file__).parents[1]
Override = tuple[str, str] | tuple[str, str, str]
Seed = Annotated[int, Field(ge=0, lt=2**63, description="a whole number, at least 0")]


EXCLUSIVE = {"sampling.nfe": "sampling.timesteps", "sampling.timesteps": "sampling.nfe"}


@dataclass(frozen=True)
class Sampler(specs.Spec):
    """How samples are drawn: build(process, grid, **options), the predicted x0 clipped or not."""

    clip: bool = False


class Config(Section):
    """One experiment. `comment` is free text that is kept with the run."""

    data: Data
    model: Model
    diffusion: Diffusion = Field(default_factory=Diffusion)
    loss: Loss
    training: Training = Field(default_factory=Training)
    sampling: Sampling = Field(default_factory=Sampling)
    optim: Optim = Field(default_factory=Optim)
    evaluation: Evaluation = Field(default_factory=Evaluation)
    seed: Seed = 1234
    comment: str = Field(default="", description="text")

    def process(self) -> Process:
        """The process of `diffusion`, for images of this size. Raises ValueError as it does."""
        from functions.process import PROCESSES

        return PROCESSES[self.diffusion.process](**self.diffusion.options(self.data.image_size))

    def sampler(self) -> Sampler:
        """What `sample_type` means together with the keys beside it.

        generalized and ddim: DDIM(eta). ddpm_noisy: the larger variance. ddpm: the variance of
        `sampling.variance`, else of `model.var_type`. Both ddpm clip x0 unless told otherwise.
        """
        spec, clip = specs.sampler(self.sampling.sample_type), self.sampling.clip
        said = self.sampling.said
        if spec.name == "ddpm":
            said.setdefault("variance", self.model.var_type.removeprefix("fixed"))
        for key, value in said.items():
            if key in spec.known and key not in spec.given:
                spec = spec.with_option(key, specs.show(value))
        clip = spec.name == "ddpm" if clip is None else clip
        return Sampler(spec.build, spec.name, spec.given, clip)


def load(path_or_name: str | Path, overrides: Iterable[Override] = ()) -> Config:
    """Read a config file, or one that `find` finds by name, and lay the overrides over it.

    An override is (dotted key, YAML text) or (dotted key, YAML text, flag to name in errors).
    Raises ConfigError with every mistake found.
    """
    try:
        source = read(find(path_or_name))
    except SourceError as err:
        raise ConfigError(str(err)) from err
    return _resolve(source, overrides)


def from_values(values: Values, name: str, overrides: Iterable[Override] = ()) -> Config:
    """The same for values at hand, such as a checkpoint's; `name` is what errors call them."""
    source = Source(name)
    source.merge(values, name)
    return _resolve(source, overrides)


def dump(config: Config) -> str:
    """YAML of every key that means something in this config; loads again as an equal Config."""
    values = config.model_dump(mode="json")
    return yaml.dump(values, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


class _Dumper(yaml.SafeDumper):
    """Sections as blocks, lists on one line."""


_Dumper.add_representer(
    list, lambda dumper, items: dumper.represent_sequence("tag:yaml.org,2002:seq", items, True)
)


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


def _resolve(source: Source, overrides: Iterable[Override]) -> Config:
    overrides = list(overrides)
    typed = {key for key, *_ in overrides}
    lines = _override(source, overrides, typed)
    values = _whole_numbers(source.values, [])
    problems = _spell(values)
    _fill_data(values)

    from configs.schema import components

    problems += components.complete(values)
    config = None
    try:
        config = Config.model_validate_json(json.dumps(values, default=str), strict=True)
    except ValidationError as err:
        known = {problem.key for problem in problems}
        problems += [p for p in from_pydantic(err, Config) if p.key not in known]
    if config is not None and not problems:
        problems = checks.check(config, values, typed)
    lines += [problem.line(source) for problem in problems]
    if lines or config is None:
        raise ConfigError(*lines)
    return config


def _override(source: Source, overrides: Sequence[Override], typed: set[str]) -> list[str]:
    """Lay the overrides over the file; what cannot be laid is returned as lines."""
    lines = []
    for key, text, *flag in overrides:
        name = flag[0] if flag else f"--{key}"
        try:
            source.put(key, parse(text, name), name)
            if EXCLUSIVE.get(key, key) not in typed:  # a file's steps give way to a typed nfe
                source.put(EXCLUSIVE[key], None, name)
        except SourceError as err:
            lines.append(str(err))
    return lines


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


def _spell(values: Values) -> list[Problem]:
    """The DDIM repository's spellings: `model.type: simple`, names of data sets in any case."""
    for section in [key for key, value in values.items() if value is None]:
        if section in Config.model_fields and section not in ("seed", "comment"):
            values[section] = {}
    data, model = values.get("data"), values.get("model")
    if isinstance(data, dict) and isinstance(data.get("dataset"), str):
        data["dataset"] = data["dataset"].upper()
    if not isinstance(model, dict) or "type" not in model:
        return []
    kind = model.pop("type")
    if kind == "bayesian":
        text = "bayesian models of the DDIM repository are not supported; it should be simple"
        return [Problem("model.type", text)]
    if kind != "simple":
        text = f"{show(kind)} is unknown; it should be simple, which means name: ddpm"
        return [Problem("model.type", text)]
    if model.setdefault("name", "ddpm") != "ddpm":
        return [
            Problem("model.type", f"simple means name: ddpm, but model.name is {model['name']}")
        ]
    return []


def _fill_data(values: Values) -> None:
    """Data sets of one shape need not repeat it; other images have three channels unless told."""
    data = values.get("data")
    if isinstance(data, dict):
        size, channels = FIXED_SHAPES.get(str(data.get("dataset")), (None, 3))
        data.setdefault("channels", channels)
        if size is not None:
            data.setdefault("image_size", size)
