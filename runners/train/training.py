"""The verb `train`: a run folder, the trainer's steps, and what is saved and shown meanwhile."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from configs.schema import Config, ConfigError, dump, from_values, load
from datasets import ImageDataset
from datasets.loader import batches
from datasets.transforms import to_uint8
from functions.denoiser import Denoiser
from functions.loss import clamped_from
from models import build, checkpoint
from runners.machine.processes import Ranks
from runners.machine.seeds import seed_step
from runners.machine.signals import STOPPED, stop_request
from runners.machine.versions import versions
from runners.measure.held_out import held_out_loss
from runners.measure.window import Window
from runners.model import weights
from runners.record import files, image_files, run_folder
from runners.sampling.drawer import Drawer
from runners.sampling.walk import walk_for
from runners.sheets import sheet
from runners.train.journal import Journal, memory
from runners.train.trainer import NonFiniteLossError, Step, Trainer

log = logging.getLogger("skip_step")

SHOWN = 36  # images on the sheets drawn while training
SHOWN_STEPS = 50  # and the sampling steps they take
VALIDATED = 2048  # held-out images looked at while training; --test looks at all


def new_trainer(config: Config, process: Any, ranks: Ranks) -> Trainer:
    """A trainer with freshly initialised weights, the same on every process."""
    seed_step(config.seed, 2**32 - 1, 0)
    network = build(config.model.name, **config.model.options)
    return Trainer(config, network, process, ranks)


class TrainingRun:
    """A trainer in its folder: knows when to save, to validate, to draw and to stop."""

    def __init__(
        self,
        trainer: Trainer,
        run: Path,
        board: Path,
        dataset: ImageDataset,
        held_out: ImageDataset | None,
    ) -> None:
        self.trainer, self.run, self.board = trainer, run, board
        self.config, self.ranks = trainer.config, trainer.ranks
        self.dataset, self.held_out = dataset, held_out
        self.total = total_steps(self.config, len(dataset))

    def go(self) -> None:
        """Train to the end. Exits with STOPPED after saving when asked to; raises RuntimeError that
        names the last good checkpoint where the loss stops being finite.
        """
        if self.trainer.step >= self.total:
            log.info(
                "%s has all its %d steps; raise training.n_iters to go on", self.run, self.total
            )
            return
        training = self.config.training
        stream = batches(
            self.dataset,
            training.batch_size,
            self.config.seed,
            self.trainer.step,
            self.ranks.rank,
            self.ranks.world,
            0 if self.dataset.in_memory else self.config.data.num_workers,
        )
        journal = Journal(self.run, self.board, self.trainer.step, self.total, self.ranks)
        window = Window(self.trainer.denoiser.process, self.ranks)
        with closing(journal), stop_request() as stop:
            try:
                for step in self.trainer.steps(stream):
                    window.add(step.t, step.loss)
                    journal.advance(step)
                    stopping = self.ranks.any(bool(stop))[0]
                    last = step.step >= self.total
                    if last or stopping or step.step % training.snapshot_freq == 0:
                        self.save()
                    if stopping and not last:
                        log.warning("stopped at step %d; --resume_training goes on", step.step)
                        raise SystemExit(STOPPED)
                    self._look(step, window, journal, last)
                    if last:
                        return
            except NonFiniteLossError as err:
                steps = checkpoint.steps(self.run)
                good = checkpoint.path_of(self.run, steps[-1]) if steps else "none yet"
                raise RuntimeError(f"{err}; last good checkpoint: {good}") from err

    def save(self) -> None:
        """Write a checkpoint and drop the ones that are kept no longer."""
        step = self.trainer.step
        state = {
            **self.trainer.state(),
            "config": self.config.model_dump(mode="json"),
            "versions": versions(),
            "data": _data_identity(self.dataset),
        }

        def write() -> None:
            checkpoint.save(checkpoint.path_of(self.run, step), state)
            training = self.config.training
            checkpoint.prune(self.run, training.keep_last, training.milestone_freq)

        self.ranks.on_first(write)

    def _look(self, step: Step, window: Window, journal: Journal, last: bool) -> None:
        training = self.config.training

        def due(every: int) -> bool:
            return every > 0 and (last or step.step % every == 0)

        if due(training.log_freq):
            values: dict[str, Any] = window.report()
            values |= {"grad_norm": float(step.grad_norm), "lr": step.lr}
            values |= memory(self.ranks.device)
            journal.scalars(step.step, values)
            if not sys.stderr.isatty():
                log.info(
                    "step %d: loss %.5f, %.0f images/s",
                    step.step,
                    values["loss"],
                    values["images_per_second"],
                )
        if self.held_out is not None and due(training.validation_freq):
            journal.scalars(step.step, self._validate(self.held_out))
        if due(training.sample_freq):
            self._draw(step.step, journal)
        if due(training.log_freq):
            window.reset()

    def _with_average(self, work: Callable[[Denoiser], Any]) -> Any:
        """Run `work` with the averaged weights (the raw ones where there is no average)."""
        trainer = self.trainer
        own = trainer.denoiser
        denoiser = Denoiser(trainer.network, own.process, mixed=own.mixed)
        trainer.network.eval()
        try:
            if trainer.ema is None:
                return work(denoiser)
            with trainer.ema.applied(trainer.network):
                return work(denoiser)
        finally:
            trainer.network.train()

    def _validate(self, held_out: ImageDataset) -> dict[str, float]:
        values = self._with_average(
            lambda denoiser: held_out_loss(denoiser, held_out, self.config, self.ranks, VALIDATED)
        )
        return {f"held_out/{name}": value for name, value in values.items()}

    def _draw(self, step: int, journal: Journal) -> None:
        if not self.ranks.first:
            return
        sheet = self._with_average(self._sheet)
        journal.picture(step, "samples", image_files.pixels(sheet))
        image_files.save(sheet, self.run / "samples" / f"step_{step}.png")

    def _sheet(self, denoiser: Denoiser) -> Image.Image:
        config, data = self.config, self.config.data
        process = denoiser.process
        steps = min(SHOWN_STEPS, process.steps or SHOWN_STEPS)
        sampling = config.sampling.model_copy(
            update={
                **{"timesteps": steps, "nfe": None},
                "skip_type": "uniform" if process.steps else "quad",
                "sample_type": "deis:0",
            }
        )
        plan = walk_for(config.model_copy(update={"sampling": sampling}), process).plan
        shape = (data.channels, data.image_size, data.image_size)
        drawer = Drawer(denoiser, plan, shape, config.seed, self.ranks.device)
        size = config.sampling.batch_size
        parts = [
            to_uint8(drawer(range(i, min(i + size, SHOWN))).nan_to_num(), data).cpu()
            for i in range(0, SHOWN, size)
        ]
        return sheet.sheet(torch.cat(parts).unflatten(0, (-1, 6)).unbind(), least=32)


def total_steps(config: Config, images: int) -> int:
    """Updates until the earlier of n_iters and n_epochs."""
    training = config.training
    if training.n_epochs is None:
        return training.n_iters
    return min(training.n_iters, -(-training.n_epochs * images // training.batch_size))


def open_run(
    config: Config, run: Path, board: Path, choice: str, dataset: ImageDataset, ranks: Ranks
) -> dict[str, Any] | None:
    """Make or enter the run's folder as `choice` ("new", "resume", "overwrite") says, write the
    config, and return the checkpoint to resume from, None to begin.
    """

    def prepare() -> None:
        if choice == "overwrite":
            for folder in (run, board):
                if folder.exists():
                    files.move_aside(folder)
        if not (run / "config.yml").exists():
            files.write_text(run / "config.yml", dump(config))

    ranks.on_first(prepare)
    if choice != "resume":
        return None
    found = checkpoint.latest(run, log.warning if ranks.first else lambda text: None)
    if found is None:
        run_folder.check_same_run(load(run / "config.yml"), config, run)
        log.info("%s has no checkpoint yet: starting from the beginning", run)
        return None
    path, state = found
    weights.require_training(state, str(path))
    run_folder.check_same_run(from_values(state["config"], str(path)), config, run)
    then, now = state["data"], _data_identity(dataset)
    if any(then[key] != now[key] for key in then.keys() & now.keys()):
        raise ConfigError(
            f"--resume_training: the images have changed since {path} ({then['images']} then, "
            f"{now['images']} now); restore them, or start another --doc"
        )
    ranks.on_first(lambda: _set_damaged_aside(run, state["step"]))
    log.info("resuming from %s", path)
    return state


def _set_damaged_aside(run: Path, step: int) -> None:
    """Newer files than the one resumed from are damaged; left there, they would count as newest."""
    for newer in [s for s in checkpoint.steps(run) if s > step]:
        path = checkpoint.path_of(run, newer)
        log.warning("damaged %s renamed to %s.damaged", path, path.name)
        path.replace(path.with_name(f"{path.name}.damaged"))


def _data_identity(dataset: ImageDataset) -> dict[str, Any]:
    """Enough to notice other data. Decoded and streamed images have different fingerprints."""
    form = "decoded" if dataset.in_memory else "streamed"
    return {"images": len(dataset), form: dataset.fingerprint()}


def say_what_is_trained(config: Config, trainer: Trainer, dataset: ImageDataset) -> None:
    """One line at the start, and a second one where L_skip is clamped."""
    parameters = sum(p.numel() for p in trainer.network.parameters())
    log.info(
        "training %s (%s parameters) on %s images of %s, loss %s, batch %d, %d processes, %s",
        config.model.name,
        f"{parameters:,}",
        f"{len(dataset):,}",
        dataset.name,
        config.loss.name,
        config.training.batch_size,
        trainer.ranks.world,
        trainer.ranks.device,
    )
    if config.loss.name == "skip":
        options = {k: config.loss.options[k] for k in ("skip", "c_max")}
        begin = clamped_from(trainer.denoiser.process, **options)  # type: ignore[arg-type]
        if begin is not None:
            log.warning(
                "L_skip: c_t is clamped to %g for t >= %g: this schedule is too steep for skip %s",
                options["c_max"],
                begin,
                options["skip"],
            )
