"""Sections that name a part: their options, checked against the part's signature and completed."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from importlib import import_module
from typing import Any

from configs import values
from configs.parts import KINDS, Part, Registry
from configs.schema import specs
from configs.schema.problems import Problem, nearest
from configs.schema.sections import PLUGS, Data, Diffusion, Loss, Model, Optim, Plug
from configs.schema.source import Values

SECTIONS: dict[str, type[Plug]] = {
    **{"data": Data, "model": Model, "diffusion": Diffusion, "loss": Loss, "optim": Optim}
}


ROOMS = (  # of parts that a config may name
    *("datasets.sources", "models", "models.features", "models.optimizers"),
    *(
        "functions.anneals",
        "functions.clips",
        "functions.grids",
        "functions.loss",
        "functions.metrics",
    ),
    *("functions.process", "functions.samplers", "functions.scales", "functions.times"),
    "functions.weights",
)


def load_rooms() -> None:
    """Import every room below the runners, so that its parts are registered; torch comes along."""
    for room in ROOMS:
        import_module(room)


def registry(kind: str) -> Registry[Any, Any]:
    """All parts of a kind."""
    load_rooms()
    return KINDS[kind]


def part_of(section: str, given: Values) -> Part[Any, Any] | None:
    """The part that a section names, None where it names none that exists."""
    key, kind = PLUGS[section]
    name = given.get(key, SECTIONS[section].model_fields[key].default)
    found = registry(kind).resolve(_name(section, name)) if isinstance(name, str) else None
    return found[0] if found else None


def _name(section: str, name: str) -> str:
    """The name as it is registered: those of data sets may be written in any case."""
    known = registry(PLUGS[section][1]).names
    return name.upper() if section == "data" and name not in known else name


def forget(
    section: str, given: Values, before: Part[Any, Any], typed: Collection[str]
) -> Iterator[str]:
    """Drop the options that another part of the section left behind, where a flag chose a new part
    that does not have them. Yields a line that says so.
    """
    part = part_of(section, given)
    if part is None or part is before:
        return
    old = {*before.options, *before.facts.keys}
    lost = [key for key in given if key in old and not _known(key, part)]
    lost = [key for key in lost if f"{section}.{key}" not in typed]
    for key in lost:
        del given[key]
    if lost:
        names = ", ".join(f"{section}.{key}" for key in lost)
        yield f"{names} dropped: {before} has these options, {part} has not"


def complete(given: Values) -> list[Problem]:
    """Check the options of every section that names a part; write the defaults into `given`."""
    problems = []
    for section in PLUGS:
        own = given.get(section) if section == "data" else given.setdefault(section, {})
        if isinstance(own, dict):
            problems += _complete(section, given)
    return problems


def _complete(section: str, every: Values) -> list[Problem]:
    given, schema, (key, kind) = every[section], SECTIONS[section], PLUGS[section]
    name = given.get(key, schema.model_fields[key].default)
    if section == "data" and key not in given:
        return []  # pydantic says what is missing
    if not isinstance(name, str):
        name = values.show(name)
    try:
        named = specs.parse(_name(section, name), registry(kind), whole=False)
    except specs.SpecError as err:
        if section == "data":  # a known data set says its shape, so none is asked for
            given.update({"channels": 1, "image_size": 1, **given})
        return [Problem(f"{section}.{key}", str(err))]
    part = named.part
    given.update({key: part.name, **{k: v for k, v in named.given.items() if k not in given}})
    for option in [k for k, v in given.items() if v is None and not _known(k, part, schema)]:
        if _owners(section, option):  # older versions wrote category: null for every data set
            del given[option]
    _fill(section, part, every)
    spelled, problems = _spelled(section, given, part)
    problems += [_unknown(section, k, part) for k in given if not _known(k, part, schema)]
    for option, parameter in part.options.items():
        path = f"{section}.{spelled.get(option, option)}"
        if option in given:
            try:
                value = values.check(parameter.annotation, given[option])
                given[option] = list(value) if isinstance(value, tuple) else value
            except ValueError as err:
                text = f"{values.show(given[option])} is not valid; it should be {err}"
                problems.append(Problem(path, text))
        elif parameter.default is parameter.empty:
            should = values.words(parameter.annotation)
            problems.append(Problem(path, f"is missing; it should be {should}"))
        else:
            given[option] = parameter.default
    return problems


def _known(key: str, part: Part[Any, Any], schema: type[Plug] | None = None) -> bool:
    return key in part.options or key in (schema.model_fields if schema else part.facts.keys)


def _spelled(
    section: str, given: Values, part: Part[Any, Any]
) -> tuple[dict[str, str], list[Problem]]:
    """Rename options that have another name; option -> how it was written."""
    spelled, problems = {}, []
    for other, key in part.facts.keys.items():
        if other in given and key in given:
            text = f"is another name of {section}.{key}; give one of the two"
            problems.append(Problem(f"{section}.{other}", text))
        if other in given:
            given[key] = given.pop(other)
            spelled[key] = other
    return spelled, problems


def _fill(section: str, part: Part[Any, Any], every: Values) -> None:
    """Write down what follows from elsewhere: the shape of the data set, the network's from it."""
    given, data = every[section], every.get("data")
    if section == "data":
        given.setdefault("channels", part.facts.channels or 3)
        if part.facts.size is not None:
            given.setdefault("image_size", part.facts.size)
        if given.get("classes") is True and part.facts.classes is not None:
            given["classes"] = part.facts.classes
    if section == "model" and given.get("ema_rate") is None and not given.get("ema_half_life"):
        given["ema_rate"] = 0.9999
    if section == "model" and isinstance(data, dict):
        state = state_shape(every)
        for option, what in part.facts.shape.items():
            if isinstance(state[what], int) and state[what] > 0:
                given.setdefault(option, state[what])


def state_shape(every: Values) -> dict[str, Any]:
    """Side and channels of the process' state, the channels of the network's answer to it, the rows
    of its label embedding, and the numbers that tell it of an augmentation, for the sections of a
    config; None where no number is given.
    """
    from datasets.augment import LABELS

    data, diffusion, model = every["data"], every.get("diffusion"), every.get("model")
    process = part_of("diffusion", diffusion) if isinstance(diffusion, dict) else None
    side, channels = data.get("image_size"), data.get("channels")
    groups = getattr(process.build if process else None, "groups", 1)
    channels = channels * groups if isinstance(channels, int) else None
    learned = isinstance(model, dict) and model.get("var_type") == "learned"
    return {
        "side": side if isinstance(side, int) else None,
        "channels": channels,
        "answer": channels * (2 if learned else 1) if channels else None,
        "classes": label_rows(data.get("classes"), every.get("training")),
        "augment": LABELS if data.get("augment") else 0,
    }


def label_rows(classes: Any, training: Any) -> int | None:
    """Rows of a label embedding: one for each class, one more for "no class" with label dropout.
    None without classes.
    """
    if isinstance(classes, bool) or not isinstance(classes, int):
        return None
    share = training.get("label_dropout") if isinstance(training, dict) else None
    return classes + (isinstance(share, float) and share > 0)


def _owners(section: str, key: str) -> list[str]:
    """Names of the parts that have an option of this name."""
    parts = registry(PLUGS[section][1]).parts.values()
    return [part.name for part in parts if key in part.options or key in part.facts.keys]


def _unknown(section: str, key: str, part: Part[Any, Any]) -> Problem:
    """A key that the section does not have: whose it is, or which one is near."""
    known = [*part.options, *SECTIONS[section].model_fields]
    if owners := _owners(section, key):
        text = f"belongs to {values.either(owners)}; {part} does not use it"
    else:
        near = nearest(key, known).replace("mean ", f"mean {section}.")
        near = near or f"; known here: {', '.join(known)}"
        text = f"there is no such key with {part}{near}"
    return Problem(f"{section}.{key}", text)
