"""Pictures of what a model does: one module for every picture mode of --sample."""

from __future__ import annotations

from typing import Any

from configs.options import Picture
from configs.schema import Config
from runners.pictures import img2img, inpaint, interpolation, nearest, sequence
from runners.pictures import sheet as grid
from runners.pictures.studio import Mode, Studio

__all__ = ["PICTURES", "Mode", "Studio", "identity"]

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
