"""Read sweeps from their folders and put them side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from configs.schema.problems import ConfigError
from configs.values import show
from functions.metrics import METRICS
from runners.record.cells import Cell
from runners.record.sweep_folder import Sweep, load
from runners.record.sweep_settings import MAIN, Settings
from runners.report.comparison import Comparison, Doc, Metric, Point
from runners.report.statistics import Stat, number, stat


def load_sweeps(folders: Sequence[Path]) -> Comparison:
    """Read sweeps and put them side by side.

    Raises ConfigError for no folder, one without finished cells, and sweeps of different data,
    feature extractors, image shapes or numbers of samples.
    """
    if not folders:
        raise ConfigError("a report needs the folder of at least one sweep")
    sweeps = [load(folder) for folder in folders]
    for sweep in sweeps:
        if not sweep.cells:
            raise ConfigError(f"{sweep.folder} has no finished cell yet: nothing to report")
        _check_same(sweeps[0], sweep)
    docs, metrics = _labelled(sweeps), list(_metrics(sweeps))
    return Comparison(sweeps, docs, metrics, _points(docs, metrics))


def _check_same(first: Sweep, other: Sweep) -> None:
    """Refuse sweeps whose metrics cannot be compared."""
    ours, theirs = (_measured_against(sweep.settings) for sweep in (first, other))
    for name, value in ours.items():
        if value != theirs[name]:
            raise ConfigError(
                f"sweeps {first.folder} and {other.folder} differ in their {name} ({show(value)} "
                f"and {show(theirs[name])}) and cannot be compared; report them apart"
            )


def _measured_against(settings: Settings) -> dict[str, Any]:
    return {
        "n_samples": settings.n_samples,
        "image shape": list(settings.image),
        "data": settings.dataset["fingerprint"],
        "number of real images": settings.dataset.get("images"),
        "feature extractor": settings.dataset.get("extractor_sha256"),
    }


def _metrics(sweeps: Sequence[Sweep]) -> Iterator[Metric]:
    """Metrics that any sweep measured, MAIN first."""
    labels: dict[str, str] = {}
    for sweep in sweeps:
        measured = {label for cell in sweep.cells for label in cell.measured.figures}
        for name, label in sweep.settings.metrics.items():
            if name == MAIN or label in measured:
                labels.setdefault(name, label)
    for name in sorted(labels, key=lambda name: name != MAIN):
        if found := METRICS.resolve(name):
            facts = found[0].facts
            yield Metric(name, labels[name], facts.lower_is_better, facts.unit)
        else:  # a user's own, of a file that was not imported
            yield Metric(name, labels[name], None, "")


def _labelled(sweeps: list[Sweep]) -> list[Doc]:
    """Docs under distinct labels: `sweep/doc` unless the name alone says it all."""
    held = [list(dict.fromkeys(cell.doc for cell in sweep.cells)) for sweep in sweeps]
    names = [name for docs in held for name in docs]
    alike = not any(sweeps[0].settings.recipe.differs(s.settings.recipe) for s in sweeps)
    if alike and len(set(names)) == len(names):
        return [Doc(n, n, sweep) for sweep, docs in zip(sweeps, held, strict=True) for n in docs]
    docs, used = [], set()
    for sweep, names in zip(sweeps, held, strict=True):
        title, number = sweep.settings.name, 1
        while title in used:  # two folders may hold sweeps of one name
            number += 1
            title = f"{sweep.settings.name} ({number})"
        used.add(title)
        docs += [Doc(f"{title}/{name}", name, sweep) for name in names]
    return docs


def _points(docs: list[Doc], metrics: list[Metric]) -> list[Point]:
    cells = [(doc, cell) for doc in docs for cell in doc.cells]
    plain = {(cell.sampler, cell.grid) for _, cell in cells if not _clipped(cell)}
    one_grid = len({cell.grid for _, cell in cells}) == 1
    owners = {doc.label: doc for doc in docs}
    groups: dict[tuple[str, str, int | None], list[Cell]] = {}
    for doc, cell in cells:
        sampler = cell.sampler if one_grid else f"{cell.sampler}@{cell.grid}"
        if _clipped(cell) and (cell.sampler, cell.grid) in plain:
            sampler += ", clipped"
        groups.setdefault((doc.label, sampler, cell.steps), []).append(cell)
    points = [
        _point(owners[label], sampler, steps, group, metrics)
        for (label, sampler, steps), group in groups.items()
    ]
    lines = {line: i for i, line in enumerate(dict.fromkeys(p.line for p in points))}
    return sorted(points, key=lambda p: (lines[p.line], p.nfe))


def _clipped(cell: Cell) -> bool:
    return bool(cell.measured.recipe.sampler.get("clip"))


def _point(
    doc: Doc, sampler: str, steps: int | None, cells: list[Cell], metrics: list[Metric]
) -> Point:
    labels = doc.sweep.settings.metrics

    def over_seeds(value: Callable[[Cell], float | None]) -> Stat:
        return stat({cell.seed: number(value(cell)) for cell in cells})

    def figure(name: str) -> Stat:
        return over_seeds(lambda cell: cell.measured.figures.get(labels.get(name, "")))

    return Point(
        doc=doc.label,
        sampler=sampler,
        steps=steps,
        nfe=over_seeds(lambda cell: cell.measured.nfe).mean,
        seconds=over_seeds(lambda cell: cell.measured.seconds_per_image),
        figures={metric.name: figure(metric.name) for metric in metrics},
        cells=tuple(sorted(cells, key=lambda cell: cell.seed)),
        folder=doc.sweep.folder,
    )
