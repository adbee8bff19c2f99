"""Sweeps side by side: the metrics, docs and points that a report is about."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from runners.record.cells import Cell
from runners.record.recipe import Recipe
from runners.record.sweep_folder import Sweep
from runners.record.sweep_settings import MAIN, Run, Settings
from runners.report.statistics import Stat, stat
from runners.report.wording import count, steps_title


@dataclass(frozen=True)
class Metric:
    """A metric that at least one sweep measured.

    name: of its part; label: its column, such as `FID-50k`; unit: as the part says.
    lower_is_better: None where the part is not here, as in a report without --import.
    """

    name: str
    label: str
    lower_is_better: bool | None
    unit: str

    @property
    def direction(self) -> str:
        """`lower is better`, empty where the direction is not known."""
        words = {True: "lower is better", False: "higher is better", None: ""}
        return words[self.lower_is_better]


@dataclass(frozen=True)
class Doc:
    """A run in a sweep. label: what it is shown as; name: its --doc."""

    label: str
    name: str
    sweep: Sweep

    @property
    def run(self) -> Run:
        """Weights, folder and config of the run."""
        return self.sweep.settings.docs[self.name]

    @property
    def is_snapshot(self) -> bool:
        """Whether it is one of several snapshots of its run."""
        return self.run.doc is not None

    @property
    def recipe(self) -> Recipe:
        """Recipe that all images of the doc share."""
        return self.sweep.settings.of_doc(self.name)

    @property
    def loss(self) -> str:
        """Name of the loss that the run was trained with."""
        return str(self.run.section("loss").get("name") or "unknown")

    @property
    def cells(self) -> list[Cell]:
        """Finished cells of the doc."""
        return [cell for cell in self.sweep.cells if cell.doc == self.name]


@dataclass(frozen=True)
class Point:
    """Cells of one (doc, sampler and grid, steps) over all seeds.

    nfe, seconds: per image; figures: by name of the metric; folder: below which the sheets are.
    """

    doc: str
    sampler: str
    steps: int | None
    nfe: float
    seconds: Stat
    figures: dict[str, Stat]
    cells: tuple[Cell, ...]
    folder: Path

    @property
    def place(self) -> tuple[str, str, int | None]:
        """(doc, sampler, steps)."""
        return self.doc, self.sampler, self.steps

    @property
    def line(self) -> tuple[str, str]:
        """(doc, sampler)."""
        return self.doc, self.sampler

    @property
    def distance(self) -> Stat:
        return self.figures[MAIN]

    def over(self, seeds: Set[int]) -> Point:
        """The point of these seeds only, of which it has at least one."""
        cells = tuple(cell for cell in self.cells if cell.seed in seeds)
        figures = {name: figure.over(seeds) for name, figure in self.figures.items()}
        nfe = stat({cell.seed: cell.measured.nfe for cell in cells}).mean
        seconds = self.seconds.over(seeds)
        return replace(self, nfe=nfe, seconds=seconds, figures=figures, cells=cells)

    @property
    def title(self) -> str:
        """`deis:3, 10 steps (NFE 10)`."""
        return f"{self.sampler}, {steps_title(self.steps)} (NFE {count(self.nfe)})"


@dataclass(frozen=True)
class Comparison:
    """All that a report is about. points: by doc, then sampler, then NFE."""

    sweeps: list[Sweep]
    docs: list[Doc]
    metrics: list[Metric]
    points: list[Point]

    def of(self, docs: Sequence[Doc]) -> Comparison | None:
        """The part that is about these docs; None for none."""
        labels = {doc.label for doc in docs}
        held = {(id(doc.sweep), doc.name) for doc in docs}
        sweeps = [
            replace(sweep, cells=[c for c in sweep.cells if (id(sweep), c.doc) in held])
            for sweep in self.sweeps
        ]
        points = [point for point in self.points if point.doc in labels]
        return replace(self, sweeps=sweeps, docs=list(docs), points=points) if docs else None

    @property
    def snapshots(self) -> Comparison | None:
        """The part that is about snapshots of runs; None without any."""
        return self.of([doc for doc in self.docs if doc.is_snapshot])

    @property
    def ends(self) -> Comparison | None:
        """The part that is about runs as such; None without any."""
        return self.of([doc for doc in self.docs if not doc.is_snapshot])

    @property
    def runs(self) -> list[Doc]:
        """The docs, of the snapshots of each run the last alone."""
        found: dict[tuple[int, str], Doc] = {}
        for doc in self.docs:
            key = (id(doc.sweep), doc.run.run if doc.is_snapshot else doc.label)
            if key not in found or found[key].run.images_seen < doc.run.images_seen:
                found[key] = doc
        return list(found.values())

    @property
    def settings(self) -> Settings:
        """Settings of the first sweep, for what is common to all."""
        return self.sweeps[0].settings

    @property
    def dataset(self) -> dict[str, Any]:
        """Data set, feature extractor and real images that all sweeps are measured against."""
        return self.settings.dataset

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of an image."""
        return self.settings.image

    @property
    def distance(self) -> Metric:
        return self.metrics[0]

    @cached_property
    def cells(self) -> list[Cell]:
        """Finished cells of all sweeps."""
        return [cell for sweep in self.sweeps for cell in sweep.cells]

    @property
    def samplers(self) -> list[str]:
        return list(dict.fromkeys(point.sampler for point in self.points))

    @property
    def steps(self) -> list[int | None]:
        """Numbers of steps that were asked for, the adaptive samplers' None last."""
        found = {point.steps for point in self.points}
        return [*sorted(s for s in found if s is not None), *([None] if None in found else [])]

    @property
    def grids(self) -> list[str]:
        """Distinct time grids; samplers are labelled with theirs only where there are several."""
        return list(dict.fromkeys(cell.grid for cell in self.cells))

    @property
    def seeds(self) -> list[int]:
        return sorted({cell.seed for cell in self.cells})

    @property
    def lines(self) -> list[tuple[str, str]]:
        """Every (doc, sampler) that has a point."""
        return list(dict.fromkeys(point.line for point in self.points))

    @cached_property
    def at(self) -> dict[tuple[str, str, int | None], Point]:
        """Points by (doc, sampler, steps)."""
        return {point.place: point for point in self.points}

    def line(self, doc: str, sampler: str) -> list[Point]:
        """Points of one line, by NFE."""
        return [point for point in self.points if point.line == (doc, sampler)]
