"""The picture modes of --sample: which one is meant, and what it was told."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from configs.command.flags import UsageError
from configs.command.options import Picture
from configs.command.sweep_flags import Overrides, items, whole

# Every mode, and the flags that mean something beside it.
MODES = {
    "sequence": ("show", "frames"),
    "grid": (),
    "nearest": ("neighbours",),
    "interpolation": ("seeds", "image", "points"),
    "inpaint": ("image", "mask", "fills", "fill"),
    "img2img": ("image", "strength"),
}
OWN = tuple(dict.fromkeys(flag for flags in MODES.values() for flag in flags))
COUNT = "sampling.n_samples"
COUNTED = {"sequence": 4, "nearest": 8}  # modes that heed --n_samples, and what it is without
LEAST = {"frames": 2, "neighbours": 1, "points": 2, "fills": 1}
FILL = re.compile(r"replace|repaint(:[1-9]\d{0,5}){0,2}")
SIZE = re.compile(r"([1-9]\d{0,3})x([1-9]\d{0,3})")


def given(flags: argparse.Namespace) -> list[str]:
    """The modes of --sample that were typed, pictures or not."""
    names = ("images", "fid", *MODES)
    return [name for name in names if getattr(flags, name) not in (None, False)]


def read(flags: argparse.Namespace, overrides: Overrides) -> tuple[Picture | None, Overrides]:
    """What to picture (None: nothing), and the overrides with the number of images that it takes.

    Raises UsageError with one line.
    """
    mode = next((name for name in given(flags) if name in MODES), None)
    _check_own(flags, mode)
    if mode is None:
        return None, overrides
    found: dict[str, object] = {
        name: _number(name, text, least)
        for name, least in LEAST.items()
        if (text := getattr(flags, name)) is not None
    }
    found |= {name: text for name in ("show", "fill", "mask") if (text := getattr(flags, name))}
    if mode == "grid":
        found["rows"], found["columns"] = _size(flags.grid)
    if flags.strength is not None:
        found["strength"] = _fraction("--strength", flags.strength)
    found["seeds"] = items("--seeds", flags.seeds, whole(0))
    found["image"] = tuple(Path(name) for name in flags.image or ())
    picture = Picture(mode, **found)  # type: ignore[arg-type]
    _check(flags, picture)
    return picture, _counted(picture, overrides)


def _check_own(flags: argparse.Namespace, mode: str | None) -> None:
    for name in OWN:
        if getattr(flags, name) is None or (name == "seeds" and flags.sweep):
            continue
        modes = [other for other, own in MODES.items() if name in own]
        if mode not in modes:
            first, last = ", ".join(f"--{m}" for m in modes[:-1]), f"--{modes[-1]}"
            raise UsageError(f"--{name} needs {f'{first} or ' if first else ''}{last}")


def _check(flags: argparse.Namespace, picture: Picture) -> None:
    mode, seeds, images = picture.mode, picture.seeds, picture.image
    rules = [
        (
            picture.show not in ("x", "x0", "both"),
            f"--show {picture.show}: should be x, x0 or both",
        ),
        (mode in ("inpaint", "img2img") and not images, f"--{mode} needs --image PATH"),
        (mode == "inpaint" and not picture.mask, "--inpaint needs --mask, such as center"),
        (mode == "img2img" and flags.strength is None, "--img2img needs --strength, such as 0.5"),
        (
            not FILL.fullmatch(picture.fill),
            f"--fill {picture.fill}: should be replace or repaint[:JUMP[:TIMES]]",
        ),
        (
            mode == "interpolation" and bool(seeds) == bool(images),
            "--interpolation needs either --seeds A,B or --image FILE FILE",
        ),
        (
            bool(seeds) and mode == "interpolation" and len(seeds) not in (2, 4),
            f"--seeds {flags.seeds}: should be two or four different seeds",
        ),
        (
            bool(seeds) and any(key == "seed" for key, _, _ in flags.overrides),
            "--seed and --seeds exclude each other",
        ),
    ]
    for broken, text in rules:
        if broken:
            raise UsageError(text)
    name, colon, share = picture.mask.partition(":")
    if name == "random" and not (colon and 0 < _fraction("--mask random", share) < 1):
        raise UsageError(f"--mask {picture.mask}: should be random:P with P between 0 and 1")


def _counted(picture: Picture, overrides: Overrides) -> Overrides:
    """The overrides, with the number of images of this picture among them."""
    typed = [flag for key, _, flag in overrides if key == COUNT]
    if picture.mode in COUNTED:
        count = COUNTED[picture.mode]
        return overrides if typed else [*overrides, (COUNT, str(count), f"--{picture.mode}")]
    if typed:
        raise UsageError(f"{typed[0]} has no effect with --{picture.mode}: leave one of them out")
    if picture.mode == "grid":
        return [*overrides, (COUNT, str(picture.rows * picture.columns), "--grid")]
    return overrides


def _number(name: str, text: str, least: int) -> int:
    try:
        return whole(least)(text)
    except ValueError as err:
        raise UsageError(f"--{name} {err}") from err


def _size(text: str) -> tuple[int, int]:
    match = SIZE.fullmatch(text)
    if not match:
        raise UsageError(f"--grid {text}: should be ROWSxCOLUMNS, as in 4x8")
    return int(match[1]), int(match[2])


def _fraction(flag: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise UsageError(f"{flag} {text}: should be a number from 0 to 1")
    return value
