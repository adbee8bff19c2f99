"""--grid RxC: the first samples of a seed on one sheet."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from configs.schema import Config, ConfigError
from runners.picture.mode import Mode, Session
from runners.picture.parts import PICTURES
from runners.sheets.sheet import abreast, sheet

SIZE = re.compile(r"([1-9]\d{0,3})x([1-9]\d{0,3})")


@PICTURES.part(
    "grid",
    title="Sheet of samples",
    paper="",
    flag="size",
    helps={"": "images on one sheet, ROWSxCOLUMNS, as in 4x8"},
)
@dataclass(frozen=True)
class GridMode(Mode):
    """Samples in rows and columns. size: rows x columns, such as 4x8."""

    size: str

    def __post_init__(self) -> None:
        super().__post_init__()
        if not SIZE.fullmatch(self.size):
            raise ValueError(f"--grid {self.size}: should be ROWSxCOLUMNS, as in 4x8")

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        rows, columns = map(int, self.size.split("x"))
        return rows, columns

    def identity(self, config: Config) -> dict[str, Any]:
        """Rows and columns. Raises ConfigError for more than a sheet holds."""
        (rows, columns), size = self.shape, config.data.image_size
        most = abreast(size)
        if max(rows, columns) > most:
            raise ConfigError(
                f"--grid {self.size}: a sheet holds at most {most}x{most} images of {size} pixels"
            )
        return {"rows": rows, "columns": columns}

    def draw(self, session: Session) -> list[Path]:
        """Write grid.png, image indices 0 to R*C-1 row by row, and the images as {index}.png."""
        rows, columns = self.shape
        images = session.samples(rows * columns)
        made = sheet(
            [list(row) for row in images.split(columns)],
            title=session.title("Samples"),
        )
        singles = [session.save(f"{index}.png", image) for index, image in enumerate(images)]
        return [session.save("grid.png", made), *singles]
