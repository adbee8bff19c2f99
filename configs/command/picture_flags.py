"""Flags of the picture modes of --sample, read off the modes that are registered."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any, get_origin

from configs import values
from configs.command.usage import UsageError
from configs.parts import KINDS, Part

Overrides = list[tuple[str, str, str]]

COUNT = "sampling.n_samples"
MODES = "picture mode"  # the kind; no mode is registered until the room that draws them is imported


def modes() -> dict[str, Part[Any, Any]]:
    """Registered picture modes by name."""
    return KINDS[MODES].parts if MODES in KINDS else {}


def owners() -> dict[str, list[str]]:
    """Every option of a picture mode, and the modes that have it."""
    found: dict[str, list[str]] = {}
    for name, part in modes().items():
        for option in part.options:
            if option != part.facts.flag:
                found.setdefault(option, []).append(name)
    return found


def add(group: argparse._ArgumentGroup) -> None:
    """A flag for every mode, and one for every option of a mode."""
    for name, part in modes().items():
        text, carried = part.facts.helps[""], part.facts.flag
        how: dict[str, Any] = {"metavar": carried.upper()} if carried else {"action": "store_true"}
        try:
            group.add_argument(f"--{name}", help=text, **how)
        except argparse.ArgumentError as err:
            raise UsageError(f"{part.place}: --{name} is a flag already") from err
        for option, parameter in part.options.items():
            if option in ("seeds", carried) or owners()[option][0] != name:
                continue  # seeds is a flag of sweeps too
            many = get_origin(parameter.annotation) is tuple
            several: dict[str, Any] = {"nargs": "+", "action": "extend"} if many else {}
            shown = "" if parameter.default in (None, "", ()) else f" [{parameter.default}]"
            text = f"{part.facts.helps[option]}{shown}"
            try:
                group.add_argument(f"--{option}", metavar=option.upper(), help=text, **several)
            except argparse.ArgumentError as err:
                raise UsageError(f"{part.place}: --{option} of {part} is a flag already") from err


def given(flags: argparse.Namespace) -> list[str]:
    """The modes of --sample that were typed, pictures or not."""
    names = ("images", "fid", *modes())
    return [name for name in names if getattr(flags, name) not in (None, False)]


def read(flags: argparse.Namespace, overrides: Overrides) -> tuple[Any, Overrides]:
    """The picture mode that was asked for (None: none), made of its flags, and the overrides with
    the number of images that it takes. Raises UsageError with one line.
    """
    name = next((name for name in given(flags) if name in modes()), None)
    for option, those in owners().items():
        typed = getattr(flags, option) is not None and not (option == "seeds" and flags.sweep)
        if typed and name not in those:
            text = values.either([f"--{mode}" for mode in those])
            raise UsageError(f"--{option} needs {text}")
    if name is None:
        return None, overrides
    part = modes()[name]
    if getattr(flags, "seeds", None) and any(key == "seed" for key, _, _ in overrides):
        raise UsageError("--seed and --seeds exclude each other")
    options = dict(_options(flags, part))
    try:
        picture = part.build(**options)
    except ValueError as err:
        text = str(err)
        raise UsageError(text if text.startswith("--") else f"--{name} {text}") from err
    return picture, _counted(part, overrides)


def _options(flags: argparse.Namespace, part: Part[Any, Any]) -> Iterator[tuple[str, Any]]:
    for option, parameter in part.options.items():
        flag = part.name if option == part.facts.flag else option
        text = getattr(flags, flag)
        if text is None:
            continue
        try:
            yield option, values.read(parameter.annotation, text)
        except ValueError as err:
            raise UsageError(f"--{flag} {text!r} should be {err}") from err


def _counted(part: Part[Any, Any], overrides: Overrides) -> Overrides:
    """The overrides, with the number of images of this picture among them."""
    typed = [flag for key, _, flag in overrides if key == COUNT]
    if part.facts.samples is not None:
        count = (COUNT, str(part.facts.samples), f"--{part.name}")
        return overrides if typed else [*overrides, count]
    if typed:
        raise UsageError(f"{typed[0]} has no effect with --{part.name}: leave one of them out")
    return overrides
