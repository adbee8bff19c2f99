"""--grid RxC: the first samples of a seed on one sheet, a row for each class."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import chain
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
    """Samples in rows and columns, each row of one class where there are classes. size: rows x
    columns, such as 4x8.
    """

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
        """Write grid.png and its images as {index}.png: image indices 0 to R*C-1 row by row, or of
        n classes in row r the first images of class r mod n that no row above has.
        """
        rows, columns = self.shape
        asked = session.config.classes()
        indices = _by_class(rows, columns, len(asked) or 1)
        order = sorted(chain(*indices))
        images = dict(zip(order, session.samples(order), strict=True))
        made = sheet(
            [[images[index] for index in row] for row in indices],
            title=session.title("Samples"),
            left=[f"class {asked[row % len(asked)]}" for row in range(rows)] if asked else (),
        )
        singles = [session.save(f"{index}.png", images[index]) for index in order]
        return [session.save("grid.png", made), *singles]


def _by_class(rows: int, columns: int, classes: int) -> list[list[int]]:
    """Indices of images in rows; where images are of so many classes in turn, a row has one."""
    return [
        [(row // classes * columns + c) * classes + row % classes for c in range(columns)]
        for row in range(rows)
    ]
