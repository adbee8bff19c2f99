"""The training loop: when to save, to validate, to draw a sheet and to stop."""

from __future__ import annotations

import logging
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

from datasets import ImageDataset
from datasets.loader import batches
from functions.loss import LOSSES
from models import checkpoint, snapshots
from runners.machine.signals import STOPPED, StopRequest, stop_request
from runners.machine.versions import versions
from runners.measure.held_out import held_out_loss
from runners.measure.window import Window
from runners.record import image_files
from runners.train.journal import Journal, memory
from runners.train.resume import identity
from runners.train.sheet import augmented_sheet, draw_sheet
from runners.train.trainer import NonFiniteLossError, Step, Trainer

log = logging.getLogger("skip_step")

PARTS = 20  # of a training, each of which has its losses by training time written
VALIDATED = 2048  # held-out images looked at while training; --test looks at all


class TrainingRun:
    """A trainer in its folder `run`. board: TensorBoard's folder; held_out: images to validate on,
    None where there are none.
    """

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
        self.ends, self.total = self.config.training.end(len(dataset))

    def go(self) -> None:
        """Train to the end. Exits with STOPPED, after saving, on request. Raises RuntimeError that
        names the last good checkpoint where the loss stops being finite.
        """
        self._introduce()
        step, total = self.trainer.step, self.total
        if step >= total:
            text = "%s has all its %d steps; raise training.%s to go on"
            log.info(text, self.run, total, self.ends)
            return
        journal = Journal(self.run, self.board, step, total, self.ranks)
        window = Window(self.trainer.denoiser.process, self.ranks)
        with closing(journal), stop_request() as stop:
            try:
                self._train(journal, window, stop)
            except NonFiniteLossError as err:
                steps = checkpoint.steps(self.run)
                good = checkpoint.path_of(self.run, steps[-1]) if steps else "none yet"
                raise RuntimeError(f"{err}; last good checkpoint: {good}") from err

    def _train(self, journal: Journal, window: Window, stop: StopRequest) -> None:
        training = self.config.training
        stream = batches(
            self.dataset,
            training.images_per_update,
            self.config.seed,
            self.trainer.step,
            self.ranks.rank,
            self.ranks.world,
            0 if self.dataset.in_memory else self.config.data.num_workers,
        )
        for step in self.trainer.steps(stream, self.total):
            window.add(step.t, step.loss)
            journal.advance(step)
            stopping = self.ranks.any(bool(stop))[0]
            last = step.step >= self.total
            saving = last or stopping or step.step % training.snapshot_freq == 0
            if saving or step.step % max(1, self.total // PARTS) == 0:
                # With each checkpoint too: a resumption goes on where these lines end.
                density = self.trainer.times.density()
                journal.line(step, {"by_time": window.by_time(density, self.trainer.weight)})
            if last or step.step % training.between_snapshots(self.total) == 0:
                self._store()  # first: a run that goes on from the checkpoint has its snapshot
            if saving:
                self.save()
            if stopping and not last:
                log.warning("stopped at step %d; --resume_training goes on", step.step)
                raise SystemExit(STOPPED)
            self._report(step, window, journal, last)
            if last:
                return

    def _store(self) -> None:
        """Write a snapshot of the averages by power functions, if there are any."""
        if (powers := self.trainer.powers) is not None:
            network, origin = self.trainer.network, self._origin()
            self.ranks.on_first(lambda: snapshots.save(self.run, powers, network, origin))

    def _origin(self) -> dict[str, Any]:
        """The config, programs and images that weights come from, as their file holds them."""
        return {
            "config": self.config.model_dump(mode="json"),
            "versions": versions(),
            "data": identity(self.dataset),
        }

    def save(self) -> None:
        """Write a checkpoint and delete the ones that are kept no longer."""
        step = self.trainer.step
        state = {**self.trainer.state(), **self._origin()}

        def write() -> None:
            checkpoint.save(checkpoint.path_of(self.run, step), state)
            training = self.config.training
            checkpoint.prune(self.run, training.keep_last, training.milestone_freq)

        self.ranks.on_first(write)

    def _report(self, step: Step, window: Window, journal: Journal, last: bool) -> None:
        """Log the losses, validate, draw a sheet: each where it is due, with frequency 0 never."""
        training = self.config.training

        def due(every: int) -> bool:
            return every > 0 and (last or step.step % every == 0)

        if due(training.log_freq):
            values: dict[str, Any] = window.report()
            values |= {"grad_norm": float(step.grad_norm), "lr": step.lr}
            values |= memory(self.ranks.device)
            journal.scalars(step, values)
            if not sys.stderr.isatty():
                log.info(
                    "step %d: loss %.5f, %.0f images/s",
                    step.step,
                    values["loss"],
                    values["images_per_second"],
                )
        if self.held_out is not None and due(training.validation_freq):
            journal.scalars(step, self._validate(self.held_out))
        if due(training.sample_freq):
            self._draw(step.step, journal)
        if due(training.log_freq):
            window.reset()

    def _validate(self, held_out: ImageDataset) -> dict[str, float]:
        with self.trainer.averaged() as denoiser:
            values = held_out_loss(denoiser, held_out, self.config, self.ranks, VALIDATED)
        return {f"held_out/{name}": value for name, value in values.items()}

    def _draw(self, step: int, journal: Journal) -> None:
        if not self.ranks.first:
            return
        with self.trainer.averaged() as denoiser:
            sheet = draw_sheet(denoiser, self.config, self.ranks.device)
        journal.picture(step, "samples", image_files.pixels(sheet))
        image_files.save(sheet, self.run / "samples" / f"step_{step}.png")

    def _introduce(self) -> None:
        """Log what is trained, and what a person should know about the loss."""
        config, network = self.config, self.trainer.network
        log.info(
            "training %s (%s parameters) on %s images of %s, loss %s, %d images an update, to step "
            "%s (training.%s), %d processes, %s",
            config.model.name,
            f"{sum(p.numel() for p in network.parameters()):,}",
            f"{len(self.dataset):,}",
            self.dataset.name,
            config.loss.name,
            config.training.images_per_update,
            f"{self.total:,}",
            self.ends,
            self.ranks.world,
            self.ranks.device,
        )
        if config.data.augment and self.trainer.step == 0 and self.ranks.first:
            path = self.run / "samples" / "augmented.png"
            image_files.save(augmented_sheet(self.dataset, config), path)
            log.info("images as the network sees them: %s", path)
        warn = LOSSES.parts[config.loss.name].facts.warn
        if warn and (text := warn(self.trainer.denoiser.process, **config.loss.options)):
            log.warning("%s", text)
