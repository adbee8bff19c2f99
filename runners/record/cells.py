"""Cells of a sweep: one (doc, sampler, time grid, steps, seed), asked for or measured."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cache
from typing import Annotated, Any, Self, TypeVar

from pydantic import BeforeValidator, Field, TypeAdapter, ValidationError, WrapValidator

from configs.values import Count, CountOrZero, show
from runners.record.recipe import FORMAT, Recipe

T = TypeVar("T")
# What of a recipe the version before wrote into sweep.json only.
SHARED = ("average", "training_step", "source", "precision", "tf32", "device", "scaling")


def _as_written(value: Any, check: Callable[[Any], Any]) -> Any:
    check(value)
    return value  # 4 stays 4, so that a table shows what the file holds


def _of_this_format(found: Any) -> Any:
    if not isinstance(found, Mapping) or found.get("format") == FORMAT:
        return found
    return asdict(Recipe.from_json(found))


Number = Annotated[float, Field(allow_inf_nan=False), WrapValidator(_as_written)]
Stored = Annotated[Recipe, BeforeValidator(_of_this_format)]  # a recipe in a file


@dataclass(frozen=True, kw_only=True)
class Result:
    """Outcome of a cell: how its images were made, and what was measured.

    nfe: network evaluations per image, counted where the recipe does not know them.
    figures: value by label, such as `FID-50k`, and deviations by label + `_std`.
    seconds: of the slowest process; seconds_per_image: of all processes together.
    steps_run: steps of the time grid, where it has another number than was asked for.
    sheet: picture of the first images, a path below the sweep's folder.
    neighbours: (training index, feature distance) of the first images.
    """

    recipe: Stored
    nfe: Number
    figures: dict[str, float | None]
    seconds: float | None = None
    seconds_per_image: float | None = None
    n_samples: Count | None = None
    steps_run: Count | None = None
    sheet: str | None = None
    neighbours: list[tuple[CountOrZero, float]] | None = None
    warnings: list[str] | None = None
    device: str | None = None
    processes: Count | None = None
    versions: dict[str, str] | None = None
    command: str | None = None
    date: str | None = None


@dataclass(frozen=True)
class Cell:
    """One place of a sweep. sampler, grid: canonical specs; steps: as asked, None for an adaptive
    sampler; seed: of the noise; result: None for a cell that is only asked for.
    """

    doc: str
    sampler: str
    grid: str
    steps: int | None
    seed: int
    result: Result | None = None

    @property
    def key(self) -> str:
        """Name of the cell within its sweep: DOC|SAMPLER@GRID|STEPS|SEED, "-" for no steps."""
        steps = "-" if self.steps is None else self.steps
        return f"{self.doc}|{self.sampler}@{self.grid}|{steps}|{self.seed}"

    @classmethod
    def of_key(cls, text: Any) -> Self:
        """Cell of this name, without a result. Raises ValueError for other text."""
        parts = text.rsplit("|", 3) if isinstance(text, str) else []
        if len(parts) == 4:
            doc, (sampler, at, grid), steps, seed = parts[0], parts[1].partition("@"), *parts[2:]
            if at and seed.isdecimal() and (steps == "-" or steps.isdecimal()):
                return cls(doc, sampler, grid, None if steps == "-" else int(steps), int(seed))
        raise ValueError(f"{show(text)} is no cell; it should be DOC|SAMPLER@GRID|STEPS|SEED")

    @property
    def measured(self) -> Result:
        """The result. Raises ValueError for a cell that has none."""
        if self.result is None:
            raise ValueError(f"{self.key} is not measured yet")
        return self.result

    def to_json(self) -> dict[str, Any]:
        """The finished cell as one line of a file holds it."""
        result = self.measured
        return {"cell": self.key, **vars(result), "recipe": result.recipe.to_json()}

    @classmethod
    def from_json(cls, record: Any, of_doc: Callable[[str], Recipe]) -> Self:
        """Finished cell from a line of this version or the one before. of_doc: what the cells of a
        doc share, for lines of the version before. Raises ValueError for what is no cell.
        """
        if not isinstance(record, dict):
            raise ValueError(f"{show(record)} is no mapping")
        if "recipe" not in record:
            return _of_flat(cls, record, of_doc)
        cell, result = cls.of_key(record.get("cell")), checked(Result, record)
        recipe = result.recipe
        if (recipe.grid, recipe.steps, recipe.seed) != (cell.grid, cell.steps, cell.seed):
            raise ValueError(f"cell {cell.key} has the recipe of another cell")
        return replace(cell, result=result)


@dataclass(frozen=True)
class _Flat:
    """Entries of a line of the version before, which had no recipe."""

    cell: str
    doc: str
    sampler: str
    grid: str
    seed: int
    sampler_name: str
    steps: Count | None = None
    options: dict[str, Any] | None = None
    clip: bool | None = None


def _of_flat(kind: type[Cell], record: dict[str, Any], of_doc: Callable[[str], Recipe]) -> Any:
    old = checked(_Flat, record)
    shared = of_doc(old.doc)
    recipe = replace(Recipe.from_json(record), **{name: getattr(shared, name) for name in SHARED})
    result = checked(Result, {**record, "recipe": recipe.to_json()})
    return kind(old.doc, old.sampler, old.grid, old.steps, old.seed, result)


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def checked(kind: Callable[..., T], values: Mapping[str, Any]) -> T:
    """Build a dataclass from the values of a JSON file; its annotations say what they may be.

    Raises ValueError that names the first value that is missing or of another kind.
    """
    try:
        return _adapter(kind).validate_json(json.dumps(values), strict=True)
    except ValidationError as err:
        first = err.errors(include_url=False)[0]
    where = ".".join(map(str, first["loc"]))
    if first["type"] == "missing":
        raise ValueError(f"it lacks {where}")
    if first["type"] == "value_error":
        raise ValueError(": ".join(filter(None, [where, str(first["ctx"]["error"])])))
    should = first["msg"].replace("Input should", "it should")
    raise ValueError(f"{where} is {show(json.dumps(first['input']))}; {should}")
