"""The verb `sweep`: every run x sampler x number of steps x seed, one line of JSON for each.

What is finished is never done again, whoever does it; a kill loses the cell in progress at most.
"""

from __future__ import annotations

import logging
import re
import time
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import torch
from torch import Tensor

from configs.command.options import Options
from configs.schema import Config, ConfigError, from_values, specs
from runners.machine.processes import Ranks
from runners.machine.signals import STOPPED, StopRequest, stop_request
from runners.machine.versions import versions
from runners.measure import reference
from runners.measure.meter import Meter
from runners.model.load import Model, adopt, open_model, other_data, scaling_of, weights_for
from runners.model.weights import Weights
from runners.record import cells, image_files, sweep_folder
from runners.report import rewrite
from runners.sampling.blocks import drawn, share
from runners.sampling.drawer import drawer_for
from runners.sampling.walk import Walk, scale_for, walk_for
from runners.sheets import sheet
from runners.sweep.progress import Progress

log = logging.getLogger("skip_step")

SHOWN = 16  # images on a cell's sheet
TRAINED = ("loss", "training", "optim", "seed", "comment")  # sections that are a run's own
UNKNOWN_COST = 100  # evaluations an adaptive solver is taken to need, for the time left only


@dataclass(frozen=True)
class Cell:
    """One combination. config: what draws it; seed: of the noise; pictured: keeps its images."""

    doc: str
    config: Config
    walk: Walk
    pictured: bool

    @property
    def key(self) -> str:
        """The cell's name within its sweep: DOC|SAMPLER@GRID|STEPS|SEED."""
        steps = "-" if self.walk.asked is None else self.walk.asked
        where = f"{self.walk.sampler}@{self.walk.grid}"
        return f"{self.doc}|{where}|{steps}|{self.config.seed}"

    @property
    def sheet(self) -> str:
        """Where the first images lie within the sweep's folder."""
        slug = re.sub(r"[^\w.=+-]+", "-", self.key)
        return f"sheets/{slug}-{zlib.crc32(self.key.encode()):08x}.png"

    @property
    def cost(self) -> int:
        """Evaluations an image, as far as they are known beforehand."""
        return self.walk.plan.nfe or UNKNOWN_COST


class Job:
    """One command's part of a sweep. open_meter: what measures, made for a config."""

    def __init__(
        self,
        config: Config,
        options: Options,
        ranks: Ranks,
        open_meter: Callable[[Config], Meter],
    ) -> None:
        self.config, self.options, self.ranks, self.open_meter = config, options, ranks, open_meter
        (self.folder,) = options.sweeps
        self.configs: dict[str, Config] = {}
        self.docs: dict[str, dict[str, Any]] = {}

    def go(self) -> None:
        """Do what is left of this shard, then write the report of all that is finished.

        Exits with STOPPED when asked to. Raises ConfigError before anything is drawn where runs,
        samplers, steps or what is in the folder do not go together.
        """
        count, options = self.config.sampling.n_samples, self.options
        if count < reference.FEWEST:
            raise ConfigError(f"--n_samples {count}: a sweep needs at least {reference.FEWEST}")
        self._look_at_runs()
        part, parts = options.shard
        every = self._cells()
        mine = every[part::parts]
        self.meter = self.open_meter(self.configs[options.docs[0]])

        def enter() -> None:
            meta = self._meta(every)
            self.shard = sweep_folder.claim(self.folder, meta, options.shard, options.overwrite)

        self.ranks.on_first(enter)
        try:
            todo = self._left(mine)
            done = len(mine) - len(todo)
            log.info("%d cells, %d of them finished: %s", len(mine), done, self.folder)
            with stop_request() as stop, Progress(todo, len(mine), self.ranks) as progress:
                self._do(todo, stop, progress)
        finally:
            if self.ranks.first:
                self.shard.close()
        self.ranks.on_first(self._report)

    def _look_at_runs(self) -> None:
        """Config and provenance of every run. Raises ConfigError for runs of different data."""
        first: Weights | None = None
        for doc in self.options.docs:
            found = weights_for(self.config, replace(self.options, doc=doc))
            first = first or found
            if text := other_data(first, found):
                raise ConfigError(f"--docs: {self.options.docs[0]} and {doc} differ in {text}")
            config = self.configs[doc] = adopt(self.config, found)
            values = config.model_dump(mode="json")
            if found.config is not None:  # how it was trained
                own = from_values(found.config, found.source).model_dump(mode="json")
                values |= {key: own[key] for key in TRAINED}
            run = str(replace(self.options, doc=doc).run)
            self.docs[doc] = {**found.provenance(), "config": values, "run": run}

    def _cells(self) -> list[Cell]:
        """Every combination in a fixed order. Raises ConfigError that names an impossible one."""
        options, found = self.options, dict[str, Cell]()
        steps = options.steps or (self.config.sampling.timesteps,)
        seeds = options.seeds or (self.config.seed,)
        items = options.samplers or (str(self.config.sampler()),)
        for doc, item in product(options.docs, items):
            own = _keys(item)
            adaptive = specs.is_adaptive(specs.sampler(own["sample_type"]).name)
            if steps == (None,) and not adaptive:
                raise ConfigError("--timesteps is missing, as in --timesteps 10,20,50")
            for count in (None,) if adaptive else steps:
                config, walk = self._walk(doc, item, {**own, "timesteps": count})
                for seed in seeds:
                    seeded = config.model_copy(update={"seed": seed})
                    cell = Cell(doc, seeded, walk, seed == seeds[0])
                    found.setdefault(cell.key, cell)
        if options.steps and all(cell.walk.asked is None for cell in found.values()):
            raise ConfigError(f"--timesteps has no effect with {', '.join(items)}: leave it out")
        for warning in {text: None for cell in found.values() for text in cell.walk.warnings}:
            log.warning(warning)
        return list(found.values())

    def _walk(self, doc: str, item: str, keys: dict[str, Any]) -> tuple[Config, Walk]:
        config = self.configs[doc]
        sampling = config.sampling.model_copy(update=keys)
        config = config.model_copy(update={"sampling": sampling})
        process = config.process()
        try:
            scale_for(config, process)  # refuses what does not fit the process
            return config, walk_for(config, process)
        except ValueError as err:
            where = [doc, item, *([f"{sampling.timesteps} steps"] if sampling.timesteps else [])]
            raise ConfigError(f"--sweep: the cell {', '.join(where)}: {err}") from err

    def _meta(self, every: Iterable[Cell]) -> dict[str, Any]:
        """What is common to all cells, and which ones are asked for."""
        config = self.configs[self.options.docs[0]]
        data, sampling = config.data, config.sampling
        return {
            "format": cells.FORMAT,
            "name": self.options.names[0],
            "n_samples": sampling.n_samples,
            "metrics": self.meter.labels(),
            "dataset": self.meter.described(),
            "image": [data.channels, data.image_size, data.image_size],
            "docs": self.docs,
            "plan": [cell.key for cell in every],
            "eps_scale": _eps_scale(config),
            "clip": sampling.clip,
            "precision": sampling.precision,
            "tf32": config.training.tf32,
            "scaling": scaling_of(config),
            "device_type": self.ranks.device.type,
            "seed": config.seed,
        }

    def _left(self, mine: Iterable[Cell]) -> list[Cell]:
        """Cells that no job has finished."""
        done = self.ranks.on_first(lambda: {cell.key for cell in cells.load(self.folder).cells})
        return [cell for cell in mine if cell.key not in done]

    def _do(self, todo: list[Cell], stop: StopRequest, progress: Progress) -> None:
        model, doc = None, None
        for cell in todo:
            if self.ranks.any(bool(stop))[0]:
                _leave(stop)
            if not self._left([cell]):  # by a job that was given other lists
                progress.skip(cell)
                continue
            if model is None or doc != cell.doc:
                model, doc = self._open(cell.doc), cell.doc
            try:
                record = self._draw(cell, model, stop, progress)
            except RuntimeError as err:
                if type(err) is RuntimeError:  # others, such as out of memory, speak for themselves
                    raise RuntimeError(f"{cell.key}: {err}") from err
                raise
            self.ranks.on_first(lambda record=record: self.shard.add(record))  # type: ignore[misc]
            progress.finish(cell, record)

    def _open(self, doc: str) -> Model:
        found = weights_for(self.config, replace(self.options, doc=doc))
        if found.provenance()["weights_sha256"] != self.docs[doc]["weights_sha256"]:
            text = "has a newer checkpoint than when the sweep began; name one: --sampling.ckpt_id"
            raise RuntimeError(f"{doc} {text} {self.docs[doc]['training_step']}")
        return open_model(self.configs[doc], found, self.ranks.device)

    def _draw(
        self, cell: Cell, model: Model, stop: StopRequest, progress: Progress
    ) -> dict[str, Any]:
        """Draw and measure one cell; the line about it (on the first process)."""
        drawer = drawer_for(model, cell.config, cell.walk, self.ranks.device)
        mine, shown = share(cell.config, drawer, self.ranks), dict[int, Tensor]()
        for part, images in drawn(drawer, cell.config, mine):
            self.meter.add(part, images)
            if cell.pictured:
                first = [i < SHOWN for i in part].count(True)
                shown |= zip(part[:first], images[:first].cpu(), strict=True)
            progress.advance(cell, len(part) / len(mine))
            if stop:
                _leave(stop)
        figures = self.meter.figures()
        nfe, per_image, seconds = drawer.counted(self.ranks)
        if cell.pictured:
            self._keep(cell, shown)
        if not self.ranks.first:
            return {}
        return {
            **self._said(cell),
            "nfe": cell.walk.plan.nfe or round(nfe, 3),
            "figures": figures,
            "seconds": round(seconds, 4),
            "seconds_per_image": per_image,
            "sheet": cell.sheet if cell.pictured else None,
            "neighbours": self.meter.neighbours() if cell.pictured else None,
            "date": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        }

    def _said(self, cell: Cell) -> dict[str, Any]:
        """What is known of a cell before it is drawn."""
        sampler, walk = cell.config.sampler(), cell.walk
        return {
            "cell": cell.key,
            "doc": cell.doc,
            "sampler": walk.sampler,
            "grid": walk.grid,
            "sampler_name": sampler.name,
            "options": sampler.record,
            "clip": sampler.clip,
            "eps_scale": _eps_scale(cell.config),
            "steps": walk.asked,
            "steps_run": walk.steps,
            "seed": cell.config.seed,
            "n_samples": cell.config.sampling.n_samples,
            "warnings": list(walk.warnings),
            "weights_sha256": self.docs[cell.doc]["weights_sha256"],
            "device": self.ranks.device_name,
            "processes": self.ranks.world,
            "versions": versions(),
            "command": self.options.command,
        }

    def _keep(self, cell: Cell, shown: dict[int, Tensor]) -> None:
        """Write the first images in one row, gathered from all processes."""
        data = cell.config.data
        shape = (0, data.channels, data.image_size, data.image_size)
        own = torch.stack(list(shown.values())) if shown else torch.empty(shape, dtype=torch.uint8)
        indices = self.ranks.gather(torch.tensor(list(shown)).long())
        images = self.ranks.gather(own)[indices.argsort()]
        if self.ranks.first:
            image_files.save(sheet.sheet([list(images)], least=1, gap=0), self.folder / cell.sheet)

    def _report(self) -> None:
        if cells.load(self.folder).cells:
            rewrite.write_report((self.folder,), self.folder, self.options)


def _keys(item: str) -> dict[str, Any]:
    """Keys of the config for SAMPLER[@GRID]; those that would be options of it mean nothing here.

    Raises ConfigError where it means nothing.
    """
    text, at, grid = item.partition("@")
    try:
        specs.sampler(text)
        found = {"skip_type": str(specs.grid(grid))} if at else {}
    except specs.SpecError as err:
        raise ConfigError(f"--samplers {item}: {err}") from err
    return {"sample_type": text, **found, **dict.fromkeys(("nfe", "order", "variable"))}


def _eps_scale(config: Config) -> str:
    return str(specs.eps_scale(config.sampling.eps_scale) or "none")


def _leave(stop: StopRequest) -> None:
    log.warning("%s: stopped; the same command goes on from the finished cells", stop.name)
    raise SystemExit(STOPPED)
