"""--grid RxC: the first samples of a seed on one sheet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from configs.options import Picture
from configs.schema import Config
from runners.draw import sheet
from runners.pictures.studio import Studio
from runners.sample import drawn


def identity(_config: Config, picture: Picture) -> dict[str, Any]:
    """The size of the grid."""
    return {"rows": picture.rows, "columns": picture.columns}


def draw(studio: Studio) -> list[Path]:
    """Write grid.png, image indices 0 to R*C-1 row by row, and the images as {index}.png."""
    count, columns = studio.config.sampling.n_samples, studio.picture.columns
    parts = drawn(studio.drawer, studio.config, range(count))
    images = torch.cat([images.cpu() for _, images in parts])
    page = sheet(
        [list(row) for row in images.split(columns)],
        title=studio.title("Samples"),
    )
    singles = [studio.save(f"{index}.png", image) for index, image in enumerate(images)]
    return [studio.save("grid.png", page), *singles]
