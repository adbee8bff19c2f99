"""One command's part of a sweep: draws and measures its cells, one after the other."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from configs.command.options import Options
from configs.schema import Config, ConfigError
from runners.machine.processes import Ranks
from runners.machine.signals import STOPPED, StopRequest, stop_request
from runners.machine.versions import versions
from runners.measure import reference
from runners.measure.meter import open_meter
from runners.model.load import Model, open_model, weights_for
from runners.record import image_files, sweep_folder
from runners.record.cells import Cell, Result
from runners.record.sweep_settings import MAIN, Settings
from runners.sampling.blocks import drawn, share
from runners.sampling.drawer import drawer_for
from runners.sheets import sheet
from runners.sweep.progress import Progress
from runners.sweep.schedule import Task, schedule

log = logging.getLogger("skip_step")

SHOWN = 16  # images on a cell's sheet


class Job:
    """One command's part of a sweep. Raises ConfigError where its cells are not possible."""

    def __init__(self, config: Config, options: Options, ranks: Ranks) -> None:
        count = config.sampling.n_samples
        if count < reference.FEWEST:
            raise ConfigError(f"--n_samples {count}: a sweep needs at least {reference.FEWEST}")
        named = [spec.name for spec in config.metrics()]
        if MAIN not in named:
            raise ConfigError(
                f"evaluation.metrics {', '.join(named)}: a sweep ranks by {MAIN}; name it too"
            )
        self.config, self.options, self.ranks = config, options, ranks
        (self.folder,) = options.sweeps
        self.schedule = schedule(config, options, ranks.device.type)

    def run(self) -> bool:
        """Measure what is left of this shard's cells. Returns whether any cell of the sweep is
        finished. Exits with STOPPED when asked to.
        """
        part, parts = self.options.shard
        mine = self.schedule.tasks[part::parts]
        first = self.schedule.tasks[0].config
        self.meter = open_meter(first, self.options, self.ranks)
        self.ranks.on_first(self._enter)
        try:
            finished = self.ranks.on_first(lambda: set(self.finished.read()))
            todo = [task for task in mine if task.cell.key not in finished]
            done = len(mine) - len(todo)
            log.info("%d cells, %d of them finished: %s", len(mine), done, self.folder)
            with stop_request() as stop, Progress(todo, len(mine), self.ranks) as progress:
                self._measure(todo, stop, progress)
        finally:
            if self.ranks.first:
                self.shard.close()
        return self.ranks.on_first(lambda: bool(self.finished.read()))

    def _enter(self) -> None:
        settings, every = self._settings(), self.schedule.tasks
        recipes = {task.cell.key: task.recipe for task in every}
        options = self.options
        self.shard, self.finished = sweep_folder.claim(
            self.folder, settings, recipes, options.shard, options.overwrite
        )

    def _settings(self) -> Settings:
        first = self.schedule.tasks[0]
        data, sampling = first.config.data, first.config.sampling
        return Settings(
            name=self.options.names[0],
            n_samples=sampling.n_samples,
            metrics=self.meter.labels(),
            dataset=self.meter.described(),
            image=(data.channels, data.image_size, data.image_size),
            docs=self.schedule.docs,
            plan=[task.cell for task in self.schedule.tasks],
            recipe=first.recipe.shared(sampling.clip),
        )

    def _measure(self, todo: Sequence[Task], stop: StopRequest, progress: Progress) -> None:
        model, doc = None, None
        for task in todo:
            if self.ranks.any(bool(stop))[0]:
                _leave(stop)
            key = task.cell.key
            if self.ranks.on_first(lambda key=key: key in self.finished.read()):  # type: ignore[misc]
                progress.skip(task)  # by a job that was given other lists
                continue
            if model is None or doc != task.cell.doc:
                model, doc = None, task.cell.doc  # of two networks one leaves memory first
                model = self._open(task)
            try:
                cell = self._draw(task, model, stop, progress)
            except RuntimeError as err:
                if type(err) is RuntimeError:  # others, such as out of memory, speak for themselves
                    raise RuntimeError(f"{key}: {err}") from err
                raise
            self.ranks.on_first(lambda cell=cell: self.shard.add(cell))  # type: ignore[misc]
            progress.finish(task, cell)

    def _open(self, task: Task) -> Model:
        doc = task.cell.doc
        found = self.schedule.weights.pop(doc, None)
        if found is None:
            found = weights_for(task.config, replace(self.options, doc=task.run))
            if found.sha256 != task.recipe.weights:
                raise RuntimeError(
                    f"{doc} has a newer checkpoint than when the sweep began; name one: "
                    f"--sampling.ckpt_id {task.recipe.training_step}"
                )
        return open_model(task.config, found, self.ranks.device)

    def _draw(self, task: Task, model: Model, stop: StopRequest, progress: Progress) -> Cell:
        """Draw and measure one cell; only on the first process does it have a result."""
        drawer = drawer_for(model, task.config, task.walk, self.ranks.device)
        mine, shown = share(task.config, drawer, self.ranks), dict[int, Tensor]()
        for part, images in drawn(drawer, task.config, mine):
            self.meter.add(part, images)
            if task.pictured:
                first = [i < SHOWN for i in part].count(True)
                shown |= zip(part[:first], images[:first].cpu(), strict=True)
            progress.advance(task, len(part) / len(mine))
            if stop:
                _leave(stop)
        figures = self.meter.figures(drawer.classes)
        nfe, per_image, seconds = drawer.counted(self.ranks)
        if task.pictured:
            self._keep(task, shown)
        if not self.ranks.first:
            return task.cell
        known = None if task.recipe.guidance else task.walk.plan.nfe  # guidance asks for more rows
        result = Result(
            recipe=task.recipe,
            nfe=known or round(nfe, 3),
            figures=figures,
            seconds=round(seconds, 4),
            seconds_per_image=per_image,
            n_samples=task.config.sampling.n_samples,
            steps_run=task.walk.steps,
            sheet=task.sheet,
            neighbours=self.meter.neighbours() if task.pictured else None,
            warnings=list(task.walk.warnings),
            device=self.ranks.device_name,
            processes=self.ranks.world,
            versions=versions(),
            command=self.options.command,
            date=time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        )
        return replace(task.cell, result=result)

    def _keep(self, task: Task, shown: dict[int, Tensor]) -> None:
        """Write the first images in one row, gathered from all processes."""
        data = task.config.data
        shape = (0, data.channels, data.image_size, data.image_size)
        own = torch.stack(list(shown.values())) if shown else torch.empty(shape, dtype=torch.uint8)
        indices = self.ranks.gather(torch.tensor(list(shown)).long())
        images = self.ranks.gather(own)[indices.argsort()]
        if self.ranks.first:
            row = sheet.sheet([list(images)], least=1, gap=0)
            image_files.save(row, self.folder / str(task.sheet))


def _leave(stop: StopRequest) -> None:
    log.warning("%s: stopped; the same command goes on from the finished cells", stop.name)
    raise SystemExit(STOPPED)
