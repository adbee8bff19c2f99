"""class Diffusion: one config and one set of paths, wired to the verbs. No mathematics here."""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path
from typing import Any

import torch

from configs.command.options import Options, Picture
from configs.schema import Config, ConfigError, from_values, specs
from datasets import get_dataset
from functions import metrics
from runners import picture as pictures
from runners.machine import processes
from runners.machine.processes import Ranks
from runners.machine.signals import leaving_on_request, stop_request
from runners.machine.versions import versions
from runners.measure import reference
from runners.measure.held_out import held_out_loss
from runners.measure.meter import Meter
from runners.model.load import Model, open_model, scaling_of, weights_for
from runners.picture import Studio, nearest
from runners.record import files, image_folder, run_folder
from runners.report import write_report
from runners.sample.images import sample_all
from runners.sampling.walk import Walk, walk_for
from runners.sweep import sweep
from runners.train import training

log = logging.getLogger("skip_step")


class Diffusion:
    """config says what, options say where and with which verb flags; each method is a verb.

    Raises ConfigError for a wrong usage, other exceptions for failures; main.py turns both into one
    line and an exit code.
    """

    def __init__(self, config: Config, options: Options) -> None:
        self.config, self.options = config, options
        self.ranks = processes.start(options.device)
        tf32 = config.training.tf32
        torch.set_float32_matmul_precision("high" if tf32 else "highest")
        torch.backends.cudnn.allow_tf32 = tf32
        torch.backends.cudnn.benchmark = True

    def __enter__(self) -> Diffusion:
        return self

    def __exit__(self, *_error: object) -> None:
        """Leave the process group: a process that ends inside it may be aborted."""
        processes.stop()

    def train(self) -> None:
        """Train, or go on training, in exp/logs/DOC."""
        run, board = self.options.run, self.options.tensorboard
        choice = self.ranks.on_first(lambda: self._choose(run))
        dataset, held_out = get_dataset(self.config, self.options.datasets)
        trainer = training.new_trainer(self.config, self.config.process(), self.ranks)
        state = training.open_run(self.config, run, board, choice, dataset, self.ranks)
        if state is not None:
            trainer.load(state)
        if self.ranks.first:
            handler = logging.FileHandler(run / "stdout.txt")
            handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
            log.addHandler(handler)
        training.say_what_is_trained(self.config, trainer, dataset)
        training.TrainingRun(trainer, run, board, dataset, held_out).go()

    def sample(self) -> None:
        """Draw images into exp/image_samples/FOLDER and, with --fid, measure them; or draw one of
        the pictures.
        """
        if self.options.picture is not None:
            return self._draw_picture(self.options.picture)
        count, ranks = self.config.sampling.n_samples, self.ranks
        if self.options.fid and count < reference.FEWEST:
            raise ConfigError(
                f"--n_samples {count}: --fid needs at least {reference.FEWEST} images"
            )
        model, walk, made_by = self._open()
        config, drawer = model.config, model.drawer(model.config, walk, ranks.device)
        folder = self._image_folder(made_by)
        log.info("%s", walk)
        meter = self._meter(config) if self.options.fid else None  # before hours of sampling
        with stop_request() as stop:
            began = time.perf_counter()
            target = None if self.options.no_images else folder
            rate = sample_all(drawer, config, target, ranks, stop, meter.add if meter else None)
        rate = float(ranks.sum(torch.tensor([rate], dtype=torch.float64)))
        nfe, _, _ = drawer.counted(ranks)
        took = {"seconds": round(time.perf_counter() - began, 3), "images_per_second": rate or None}
        if walk.plan.nfe is None and nfe:
            took["nfe"] = round(nfe, 3)
            log.info("%.1f network evaluations an image", nfe)
        if ranks.first and target:
            log.info("%d images in %s", count, folder)
        if meter:
            self._report(meter.figures(), meter, {**made_by, **took}, folder)
        return None

    def _draw_picture(self, picture: Picture) -> None:
        ranks, options = self.ranks, self.options
        if ranks.world > 1:
            raise ConfigError(f"--{picture.mode} takes one process: start it without torchrun")
        with leaving_on_request("the same command draws the picture from the beginning"):
            model, walk, made_by = self._open()
            config = model.config
            walked = pictures.walked(config, model.process, walk, picture)
            drawer = model.drawer(config, walked or walk, ranks.device)
            made_by["nfe"] = walked.plan.nfe if walked else 0
            made_by |= pictures.identity(config, picture)
            gallery = None
            if picture.mode == "nearest":
                gallery = nearest.gallery(config, options, ranks)
                made_by |= nearest.searched(gallery)
            folder = self._image_folder(made_by)
            log.info("%s", walked or pictures.NOTHING)
            studio = Studio(model, config, walk, walked, drawer, options, folder, ranks, gallery)
            try:
                paths = pictures.PICTURES[picture.mode].draw(studio)
            except BaseException:
                image_folder.release(folder)
                raise
        log.info("%d files in %s; look at %s", len(paths), folder, paths[0])

    def _open(self) -> tuple[Model, Walk, dict[str, Any]]:
        """The model that is sampled, its walk, and what decides its images, for samples.json."""
        found = weights_for(self.config, self.options)
        model = open_model(self.config, found, self.ranks.device)
        walk = walk_for(model.config, model.process)
        for warning in walk.warnings:
            log.warning(warning)
        return model, walk, {**found.provenance(), **_made_by(model.config, walk, self.ranks)}

    def sweep(self) -> None:
        """Measure every combination of runs, samplers, step counts and seeds."""
        if sweep(self.config, self.options, self.ranks):
            self.ranks.on_first(lambda: write_report(self.options))

    def test(self) -> None:
        """Held-out loss by quartile of t, for the averaged and the raw weights."""
        _, held_out = get_dataset(self.config, self.options.datasets)
        if held_out is None:
            raise ConfigError(
                f"--test: data set {self.config.data.dataset} has no held-out images; name some "
                "with --data.test_path FOLDER, or hold a part back with --data.holdout 0.05"
            )
        found = weights_for(self.config, self.options)
        rates: list[float | str | None] = [None]  # foreign weights come in one kind only
        if found.config is not None:
            rates = [*from_values(found.config, found.source).model.ema_rates, "none"]
        results: dict[str, dict[str, Any]] = {}
        for rate in rates:
            found = weights_for(self.config, self.options, rate)
            model = open_model(self.config, found, self.ranks.device)
            values = held_out_loss(model.denoiser(), held_out, model.config, self.ranks)
            results[found.kind] = {**values, **found.provenance()}
            if self.ranks.first:
                shown = "  ".join(f"{name} {value:.5f}" for name, value in values.items())
                print(f"{found.kind:>12}  {shown}  ({len(held_out):,} held-out images)", flush=True)
        if self.ranks.first and self.options.use_pretrained is None:
            record = {
                "losses": results,
                "loss": self.config.loss.model_dump(mode="json"),
                "held_out_images": len(held_out),
                "held_out_fingerprint": held_out.fingerprint(),
                "seed": self.config.seed,
                "versions": versions(),
            }
            steps = {str(result["training_step"]) for result in results.values()}
            path = self.options.run / f"test-{'-'.join(steps)}.json"
            if path.exists():
                files.move_aside(path)
            files.write_text(path, json.dumps(record, indent=1) + "\n")

    def _choose(self, run: Path) -> str:
        """What to do about the run's folder: "new", "resume" or "overwrite"."""
        options = self.options
        if options.resume_training:
            run_folder.require_run(run)
            return "resume"
        if not run.exists():
            return "new"
        if options.overwrite:
            return "overwrite"
        answer = run_folder.ask(run) if run_folder.may_ask(options.ni) else "quit"
        if answer == "quit":
            raise ConfigError(
                f"{run} exists; go on with it by --resume_training, or move it aside and start "
                "anew by --overwrite"
            )
        return answer

    def _image_folder(self, made_by: dict[str, Any]) -> Path:
        folder = self.options.samples

        def prepare() -> None:
            if self.options.overwrite and folder.exists():
                files.move_aside(folder)
            image_folder.claim(folder, made_by)

        self.ranks.on_first(prepare)
        return folder

    def _meter(self, config: Config) -> Meter:
        dataset, _ = get_dataset(config, self.options.datasets)
        return Meter(config, dataset, self.options.cache, self.ranks)

    def _report(
        self, figures: dict[str, Any], meter: Meter, made_by: dict[str, Any], folder: Path
    ) -> None:
        if not self.ranks.first:
            return
        record = {
            "figures": figures,
            "n_samples": self.config.sampling.n_samples,
            "reference": meter.described(),
            "made_by": {**made_by, "device": self.ranks.device_name, "processes": self.ranks.world},
            "versions": versions(),
            "command": self.options.command,
            "date": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        }
        path = folder / "eval.json"
        if path.exists():
            files.move_aside(path)
        files.write_text(path, json.dumps(record, indent=1) + "\n")
        for label, value in figures.items():
            print(f"{label:>28}  {value:.6g}", flush=True)
        yardstick = metrics.label("FID", meter.extractor, len(meter.reference.features) // 2)
        print(f"{yardstick + ' of real halves':>28}  {meter.reference.split_distance:.6g}")
        log.info("written to %s", path)


def _made_by(config: Config, walk: Walk, ranks: Ranks) -> dict[str, Any]:
    """Everything beside the weights that decides what image i looks like, for samples.json."""
    sampler, sampling = config.sampler(), config.sampling
    made_by = {
        "sampler": {"name": sampler.name, **sampler.record, "clip": sampler.clip},
        "sample_type": walk.sampler,
        "grid": walk.grid,
        "timesteps": walk.asked,
        "nfe": walk.plan.nfe,
        "seed": config.seed,
        "precision": sampling.precision,
        "tf32": config.training.tf32,
        "device_type": ranks.device.type,
        "scaling": scaling_of(config),
        "quantiser": "uint8, 255 x rounded half up",
    }
    if scale := specs.eps_scale(sampling.eps_scale):
        made_by["eps_scale"] = {"name": scale.name, **scale.record}
    return made_by
