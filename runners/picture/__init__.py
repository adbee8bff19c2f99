"""Pictures of what a model does: one module for every picture mode of --sample."""

from __future__ import annotations

from typing import Any

from configs.command.options import Picture
from configs.schema import Config
from functions.process import Process
from runners.picture import grid as grid
from runners.picture import img2img, inpaint, interpolation, nearest, sequence
from runners.picture.studio import NOTHING, Gallery, Mode, Studio
from runners.sampling.walk import Walk

__all__ = ["NOTHING", "PICTURES", "Gallery", "Mode", "Studio", "identity", "walked"]

PICTURES: dict[str, Mode] = {
    "sequence": sequence,
    "grid": grid,
    "nearest": nearest,
    "interpolation": interpolation,
    "inpaint": inpaint,
    "img2img": img2img,
}


def identity(config: Config, picture: Picture) -> dict[str, Any]:
    """What decides the pictures of this command beside weights and sampler, for samples.json."""
    return {"picture": picture.mode, **PICTURES[picture.mode].identity(config, picture)}


def walked(config: Config, process: Process, walk: Walk, picture: Picture) -> Walk | None:
    """What a picture makes of the config's walk, None where it takes no step at all. Raises
    ConfigError where it can make nothing of it.
    """
    own = getattr(PICTURES[picture.mode], "walked", None)
    return own(config, process, walk, picture) if own else walk
