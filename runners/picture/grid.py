"""--grid RxC: the first samples of a seed on one sheet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from configs.command.options import Picture
from configs.schema import Config, ConfigError
from runners.picture.studio import Studio
from runners.sampling.blocks import drawn
from runners.sheets.sheet import abreast, sheet


def identity(config: Config, picture: Picture) -> dict[str, Any]:
    """The size of the grid. Raises ConfigError for one that is too large for a sheet."""
    size, most = config.data.image_size, abreast(config.data.image_size)
    if max(picture.rows, picture.columns) > most:
        raise ConfigError(
            f"--grid {picture.rows}x{picture.columns}: a sheet holds at most {most}x{most} images "
            f"of {size} pixels"
        )
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
