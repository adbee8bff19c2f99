"""Several sweeps as one study: docs under distinct labels, cells averaged over their seeds."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from configs.schema.problems import ConfigError
from runners.record.cells import Cell, Sweep, load
from runners.report.summary import Stat, stat

# What must be equal for figures to be comparable: place in sweep.json, and what to call it.
SAME = {
    ("metrics",): "metrics",
    ("n_samples",): "n_samples",
    ("image",): "image shape",
    ("dataset", "fingerprint"): "data",
    ("dataset", "images"): "number of real images",
    ("dataset", "extractor_sha256"): "feature extractor",
}
# What may differ, but then the sweep's name belongs in the label.
SETTINGS = ("eps_scale", "precision", "tf32", "scaling", "device_type", "seed")
TITLES = {"distance": "distance", "kid": "KID", "precision": "precision", "recall": "recall"}


@dataclass(frozen=True)
class Metric:
    """A figure of every cell. label: the exact one it is kept and shown under."""

    key: str
    label: str

    @property
    def lower_is_better(self) -> bool:
        return self.key not in ("precision", "recall")


@dataclass(frozen=True)
class Doc:
    """A model: the label it is shown under, its name in its sweep, and where it came from."""

    label: str
    name: str
    sweep: Sweep

    @property
    def info(self) -> dict[str, Any]:
        """Weights, configuration and run, as sweep.json has them."""
        return self.sweep.meta.get("docs", {}).get(self.name, {})

    @property
    def config(self) -> dict[str, Any]:
        return self.info.get("config") or {}

    @property
    def eps_scale(self) -> str:
        return str(self.sweep.meta.get("eps_scale") or "none")

    @property
    def loss(self) -> str:
        return str((self.config.get("loss") or {}).get("name") or "unknown")

    @property
    def cells(self) -> list[Cell]:
        return [cell for cell in self.sweep.cells if cell.doc == self.name]


@dataclass(frozen=True)
class Point:
    """The cells of one (doc, sampler and grid, steps) over all seeds.

    nfe and seconds are per image; figures by metric key.
    """

    doc: str
    sampler: str
    steps: int | None
    nfe: float
    seconds: Stat
    figures: dict[str, Stat]
    cells: tuple[Cell, ...]

    @property
    def distance(self) -> Stat:
        return self.figures["distance"]

    def over(self, seeds: Set[int]) -> Point:
        """The same of these seeds only, of which it has at least one."""
        cells = tuple(cell for cell in self.cells if cell.seed in seeds)
        figures = {key: figure.over(seeds) for key, figure in self.figures.items()}
        nfe = stat({cell.seed: cell.nfe for cell in cells}).mean
        return replace(
            self, nfe=nfe, seconds=self.seconds.over(seeds), figures=figures, cells=cells
        )

    @property
    def title(self) -> str:
        """`deis:3, 10 steps (NFE 10)`."""
        return f"{self.sampler}, {steps_title(self.steps)} (NFE {count(self.nfe)})"


@dataclass(frozen=True)
class Study:
    """All that a report is about. points: by doc, then sampler, then NFE."""

    sweeps: list[Sweep]
    docs: list[Doc]
    metrics: list[Metric]
    points: list[Point]

    @property
    def meta(self) -> dict[str, Any]:
        """The first sweep's: for what is common to all."""
        return self.sweeps[0].meta

    @property
    def dataset(self) -> dict[str, Any]:
        return self.meta.get("dataset") or {}

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of an image."""
        channels, height, width = self.meta["image"]
        return channels, height, width

    @property
    def distance(self) -> Metric:
        return self.metrics[0]

    @property
    def samplers(self) -> list[str]:
        return list(dict.fromkeys(point.sampler for point in self.points))

    @property
    def steps(self) -> list[int | None]:
        """Step counts that were asked for, the adaptive samplers' None last."""
        found = {point.steps for point in self.points}
        return [*sorted(s for s in found if s is not None), *([None] if None in found else [])]

    @property
    def grids(self) -> list[str]:
        """The distinct grids; samplers are labelled with theirs only where there are several."""
        return list(dict.fromkeys(cell.grid for sweep in self.sweeps for cell in sweep.cells))

    @property
    def seeds(self) -> list[int]:
        return sorted({cell.seed for sweep in self.sweeps for cell in sweep.cells})

    @property
    def lines(self) -> list[tuple[str, str]]:
        """Every (doc, sampler) that has a point."""
        return list(dict.fromkeys((point.doc, point.sampler) for point in self.points))

    @cached_property
    def at(self) -> dict[tuple[str, str, int | None], Point]:
        """Points by (doc, sampler, steps)."""
        return {(point.doc, point.sampler, point.steps): point for point in self.points}

    def line(self, doc: str, sampler: str) -> list[Point]:
        """The points of one line, by NFE."""
        return [p for p in self.points if (p.doc, p.sampler) == (doc, sampler)]


def study(folders: Sequence[Path]) -> Study:
    """Read sweeps and put them side by side.

    Raises ConfigError for no folder, one without finished cells, and sweeps of different data,
    metrics or numbers of samples.
    """
    if not folders:
        raise ConfigError("a report needs the folder of at least one sweep")
    sweeps = [load(folder) for folder in folders]
    for sweep in sweeps:
        if not sweep.cells:
            raise ConfigError(f"{sweep.folder} has no finished cell yet: nothing to report")
        _check_same(sweeps[0], sweep)
    labels = sweeps[0].meta["metrics"]
    metrics = [Metric(key, labels[key]) for key in TITLES if key in labels]
    docs = _labelled(sweeps)
    return Study(sweeps, docs, metrics, _points(docs, metrics))


def steps_title(steps: int | None) -> str:
    """`10 steps`, `adaptive`."""
    return "adaptive" if steps is None else f"{steps:,} step{'' if steps == 1 else 's'}"


def count(value: float) -> str:
    """A number of evaluations: whole where it is whole."""
    return f"{value:,.0f}" if value == round(value) else f"{value:,.1f}"


def _check_same(first: Sweep, other: Sweep) -> None:
    for place, name in SAME.items():
        ours, theirs = _at(first.meta, place), _at(other.meta, place)
        if ours != theirs:
            raise ConfigError(
                f"sweeps {first.folder} and {other.folder} differ in their {name} ({_short(ours)} "
                f"and {_short(theirs)}): their figures cannot be compared; report them apart"
            )


def _at(values: Any, place: tuple[str, ...]) -> Any:
    for key in place:
        values = (values or {}).get(key)
    return values


def _short(value: Any) -> str:
    text = ", ".join(value.values()) if isinstance(value, dict) else str(value)
    return text if len(text) <= 80 else text[:12] + "..."


def _labelled(sweeps: list[Sweep]) -> list[Doc]:
    """Every doc under a label of its own: `sweep/doc` unless the name alone says it all."""
    held = [list(dict.fromkeys(cell.doc for cell in sweep.cells)) for sweep in sweeps]
    names = [name for docs in held for name in docs]
    settings = [[sweep.meta.get(key) for key in SETTINGS] for sweep in sweeps]
    plain = len(set(names)) == len(names) and all(s == settings[0] for s in settings)
    if plain:
        return [Doc(n, n, sweep) for sweep, docs in zip(sweeps, held, strict=True) for n in docs]
    docs, used = [], set()
    for sweep, names in zip(sweeps, held, strict=True):
        title, number = sweep.name, 1
        while title in used:  # two folders may hold sweeps of one name
            number += 1
            title = f"{sweep.name} ({number})"
        used.add(title)
        docs += [Doc(f"{title}/{name}", name, sweep) for name in names]
    return docs


def _points(docs: list[Doc], metrics: list[Metric]) -> list[Point]:
    cells = [(doc.label, cell) for doc in docs for cell in doc.cells]
    clipped = {(cell.sampler, cell.grid, cell.clip) for _, cell in cells}
    one_grid = len({cell.grid for _, cell in cells}) == 1
    groups: dict[tuple[str, str, int | None], list[Cell]] = {}
    for label, cell in cells:
        sampler = cell.sampler if one_grid else f"{cell.sampler}@{cell.grid}"
        if cell.clip and (cell.sampler, cell.grid, False) in clipped:
            sampler += ", clipped"
        groups.setdefault((label, sampler, cell.steps), []).append(cell)
    points = [_point(*key, group, metrics) for key, group in groups.items()]
    lines = {key: i for i, key in enumerate(dict.fromkeys((p.doc, p.sampler) for p in points))}
    return sorted(points, key=lambda p: (lines[p.doc, p.sampler], p.nfe))


def _point(
    doc: str, sampler: str, steps: int | None, cells: list[Cell], metrics: list[Metric]
) -> Point:
    def over_seeds(value: Callable[[Cell], float]) -> Stat:
        return stat({cell.seed: value(cell) for cell in cells})

    def figure(label: str) -> Stat:
        return over_seeds(lambda cell: cell.figures.get(label, math.nan))

    figures = {metric.key: figure(metric.label) for metric in metrics}
    nfe = over_seeds(lambda cell: cell.nfe).mean
    seconds = over_seeds(lambda cell: cell.seconds)
    ordered = tuple(sorted(cells, key=lambda cell: cell.seed))
    return Point(doc, sampler, steps, nfe, seconds, figures, ordered)
