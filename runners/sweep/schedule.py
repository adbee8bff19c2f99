"""Schedule of a sweep: every cell that a command asks for, in a fixed order.

A curve is a sweep whose docs are snapshots, DOC:STEP, of its runs.
"""

from __future__ import annotations

import logging
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from configs.command.locate import require_run
from configs.command.options import Options
from configs.schema import Config, ConfigError, from_values, specs
from models import checkpoint
from runners.model.load import adopt, other_data, weights_for
from runners.model.weights import Weights
from runners.record.cells import Cell
from runners.record.recipe import Recipe
from runners.record.sweep_settings import Run
from runners.sampling.recipe import recipe_of
from runners.sampling.walk import Walk, scale_for, walk_for

log = logging.getLogger("skip_step")

TRAINED = ("loss", "training", "optim", "seed", "comment")  # sections that are a run's own
FEW = 3  # snapshots of a run below which a curve is hardly one
KEEP = "%s keeps %d snapshot%s only; --training.milestone_freq N keeps one every N steps"
UNKNOWN_COST = 100  # evaluations an adaptive solver is taken to need, for the time left only


@dataclass(frozen=True)
class Task:
    """A cell to measure. run: name of the run whose weights are used; config, walk: along which its
    images are drawn; recipe: of these images; pictured: whether a sheet of them is kept.
    """

    cell: Cell
    run: str
    config: Config
    walk: Walk
    recipe: Recipe
    pictured: bool

    @property
    def sheet(self) -> str | None:
        """Path of the first images below the sweep's folder."""
        if not self.pictured:
            return None
        slug = re.sub(r"[^\w.=+-]+", "-", self.cell.key)
        return f"sheets/{slug}-{zlib.crc32(self.cell.key.encode()):08x}.png"

    @property
    def cost(self) -> int:
        """Evaluations per image, as far as they are known beforehand."""
        return self.walk.plan.nfe or UNKNOWN_COST


@dataclass(frozen=True)
class Schedule:
    """Runs (of a curve, snapshots) by name, and all tasks of a command.

    weights: of the first of them, whose cells are drawn first, so that they need not be read again.
    """

    docs: dict[str, Run]
    tasks: list[Task]
    weights: dict[str, Weights]


def schedule(config: Config, options: Options, device_type: str) -> Schedule:
    """Read every run and combine it with the samplers, steps and seeds of the command.

    Raises ConfigError for runs of different data, and for a combination that is not possible.
    """
    docs, tasks, weights = dict[str, Run](), dict[str, Task](), dict[str, Weights]()
    items = options.samplers or (str(config.sampler()),)
    adopted, first = dict[str, Config](), ""  # by run, so that its snapshots warn once
    for doc, step in _snapshots(options):
        name = doc if step is None else f"{doc}:{step}"
        first = first or name
        own, chosen = replace(options, doc=doc), adopted.get(doc, config)
        chosen = chosen if step is None else _with(chosen, ckpt_id=step)
        found = weights_for(chosen, own)
        if text := other_data(weights.setdefault(first, found), found):
            raise ConfigError(f"--docs: {first} and {name} differ in {text}")
        adopted[doc] = adopt(chosen, found)
        for item in items:
            for task in _tasks(name, item, adopted[doc], found, own, device_type):
                tasks.setdefault(task.cell.key, task)  # two items may mean one sampler
        docs[name] = _run(task, adopted[doc], found, own.run)
    if options.steps and all(task.cell.steps is None for task in tasks.values()):
        raise ConfigError(f"--timesteps has no effect with {', '.join(items)}: leave it out")
    for text in dict.fromkeys(text for task in tasks.values() for text in task.walk.warnings):
        log.warning(text)
    return Schedule(docs, list(tasks.values()), weights)


def _snapshots(options: Options) -> Iterator[tuple[str, int | None]]:
    """(run, training step) of all weights to measure; None: the newest.

    Raises ConfigError for a run that does not exist, or has not the snapshots that are asked for.
    """
    for doc in options.docs:
        if (asked := options.snapshots) is None:
            yield doc, None
            continue
        run = require_run(replace(options, doc=doc).run)
        if not (kept := checkpoint.steps(run)):
            raise ConfigError(f"--curve: {run} holds no snapshot ckpt_STEP.pth; train it first")
        if lost := [step for step in asked if step not in kept]:
            there = ", ".join(map(str, kept))
            raise ConfigError(f"--snapshots {lost[0]}: {run} has those of the steps {there}")
        if len(kept) < FEW:
            log.warning(KEEP, run, len(kept), "s" if len(kept) > 1 else "")
        yield from ((doc, step) for step in asked or kept)


def _with(config: Config, **keys: Any) -> Config:
    """The config with other keys in its section `sampling`."""
    return config.model_copy(update={"sampling": config.sampling.model_copy(update=keys)})


def _run(task: Task, config: Config, found: Weights, folder: Path) -> Run:
    values = config.model_dump(mode="json")
    if found.config is not None:  # how it was trained
        own = from_values(found.config, found.source).model_dump(mode="json")
        values |= {key: own[key] for key in TRAINED}
        values["data"] |= {key: own["data"][key] for key in ("random_flip", "augment")}
    doc = None if task.run == task.cell.doc else task.run
    return Run.of(task.recipe, run=str(folder), config=values, doc=doc)


def _tasks(
    doc: str, item: str, config: Config, found: Weights, options: Options, device_type: str
) -> Iterator[Task]:
    """Tasks of one run and one SAMPLER[@GRID]."""
    own = _keys(item)
    steps = _steps(item, config, own, options) or (config.sampling.timesteps,)
    seeds = options.seeds or (config.seed,)
    adaptive = specs.sampler(own["sample_type"]).part.facts.adaptive
    if steps == (None,) and not adaptive:
        raise ConfigError("--timesteps is missing, as in --timesteps 10,20,50")
    for count in (None,) if adaptive else steps:
        chosen, walk = _walk(doc, item, config, {**own, "timesteps": count})
        for seed in seeds:
            seeded = chosen.model_copy(update={"seed": seed})
            cell = Cell(doc, walk.sampler, walk.grid, walk.asked, seed)
            recipe = recipe_of(found, seeded, walk, device_type)
            run = options.run.relative_to(options.logs).as_posix()
            yield Task(cell, run, seeded, walk, recipe, pictured=seed == seeds[0])


def _steps(item: str, config: Config, keys: dict[str, Any], options: Options) -> tuple[int, ...]:
    """Step counts of the command: of these the grid's own, where its options say how many it has.

    Raises ConfigError where that one is not among them.
    """
    try:
        own = _with(config, **keys).steps_of_grid(config.process())
    except ValueError as err:
        raise ConfigError(f"--samplers {item}: {err}") from err
    if own and options.steps and own not in options.steps:
        asked = ",".join(map(str, options.steps))
        raise ConfigError(f"--timesteps {asked}: {item} has {own} steps; add {own} to the list")
    return (own,) if own else options.steps


def _walk(doc: str, item: str, config: Config, keys: dict[str, Any]) -> tuple[Config, Walk]:
    config = _with(config, **keys)
    process, sampling = config.process(), config.sampling
    try:
        scale_for(config, process)  # refuses what does not fit the process
        return config, walk_for(config, process)
    except ValueError as err:
        where = [doc, item, *([f"{sampling.timesteps} steps"] if sampling.timesteps else [])]
        raise ConfigError(f"the cell {', '.join(where)}: {err}") from err


def _keys(item: str) -> dict[str, Any]:
    """Keys of the config for SAMPLER[@GRID]; keys that would be options of one sampler are unset.

    Raises ConfigError for an item that means nothing.
    """
    text, at, grid = item.partition("@")
    try:
        specs.sampler(text)
        found = {"skip_type": str(specs.grid(grid))} if at else {}
    except specs.SpecError as err:
        raise ConfigError(f"--samplers {item}: {err}") from err
    return {"sample_type": text, **found, **dict.fromkeys(("nfe", "order", "variable"))}
