"""class Diffusion: one config and one set of paths, wired to the verbs. No mathematics here."""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path
from typing import Any

import torch

from configs.options import Options
from configs.schema import Config, ConfigError, from_values
from datasets import get_dataset
from functions import metrics
from functions.denoiser import Denoiser
from functions.process import PROCESSES
from models import build
from runners import distributed, evaluate, imagedir, rundir, train, weights
from runners.meter import Meter
from runners.sample import Drawer, plan_for, sample_all, steps_of
from runners.signals import stop_request
from runners.trainer import laid_out
from runners.versions import versions

log = logging.getLogger("skip_step")

# How pixels enter the model: keys of the config's data section that belong to the weights.
SCALING = ("rescaled", "logit_transform", "uniform_dequantization", "gaussian_dequantization")


class Diffusion:
    """config says what, options say where and with which verb flags; each method is a verb.

    Raises ConfigError for a wrong usage, other exceptions for failures; main.py turns both into one
    line and an exit code.
    """

    def __init__(self, config: Config, options: Options) -> None:
        self.config, self.options = config, options
        self.ranks = distributed.start(options.device)
        self.process = PROCESSES[config.diffusion.process](**config.diffusion.options)
        tf32 = config.training.tf32
        torch.set_float32_matmul_precision("high" if tf32 else "highest")
        torch.backends.cudnn.allow_tf32 = tf32
        torch.backends.cudnn.benchmark = True

    def __enter__(self) -> Diffusion:
        return self

    def __exit__(self, *_error: object) -> None:
        """Leave the process group: a process that ends inside it may be aborted."""
        distributed.stop()

    @property
    def cache(self) -> Path:
        """Where reference statistics and feature classifiers are kept."""
        return self.options.exp / "fid_stats"

    def train(self) -> None:
        """Train, or go on training, in exp/logs/DOC."""
        run, board = self.options.run, self.options.tensorboard
        choice = self.ranks.on_first(lambda: self._choose(run))
        dataset, held_out = get_dataset(self.config, self.options.datasets)
        trainer = train.new_trainer(self.config, self.process, self.ranks)
        state = train.open_run(self.config, run, board, choice, dataset, self.ranks)
        if state is not None:
            trainer.load(state)
        if self.ranks.first:
            handler = logging.FileHandler(run / "stdout.txt")
            handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
            log.addHandler(handler)
        train.say_what_is_trained(self.config, trainer, dataset)
        train.TrainingRun(trainer, run, board, dataset, held_out).go()

    def sample(self) -> None:
        """Draw images into exp/image_samples/FOLDER and, with --fid, measure them."""
        count = self.config.sampling.n_samples
        if self.options.fid and count < evaluate.FEWEST:
            raise ConfigError(f"--n_samples {count}: --fid needs at least {evaluate.FEWEST} images")
        found = self._weights()
        denoiser = self._denoiser(found)
        plan = plan_for(self.config, denoiser.process)
        config, data = self.config, self.config.data
        shape = (data.channels, data.image_size, data.image_size)
        drawer = Drawer(
            denoiser, plan, shape, config.seed, self.ranks.device, config.sampling.precision
        )
        made_by = self._made_by(found, plan.nfe)
        folder = self._image_folder(made_by)
        log.info("%d steps, %d network evaluations an image", len(plan.stages), plan.nfe)
        meter = self._meter() if self.options.fid else None  # before hours of sampling, not after
        with stop_request() as stop:
            began = time.perf_counter()
            target = None if self.options.no_images else folder
            use = meter.add if meter else None
            rate = sample_all(drawer, config, target, self.ranks, stop, use)
        rate = float(self.ranks.sum(torch.tensor([rate], dtype=torch.float64)))
        took = {"seconds": round(time.perf_counter() - began, 3), "images_per_second": rate or None}
        if self.ranks.first and target:
            log.info("%d images in %s", config.sampling.n_samples, folder)
        if meter:
            self._report(meter.figures(), meter, {**made_by, **took}, folder)

    def test(self) -> None:
        """Held-out loss by quartile of t, for the averaged and the raw weights."""
        _, held_out = get_dataset(self.config, self.options.datasets)
        if held_out is None:
            raise ConfigError(
                f"--test: data set {self.config.data.dataset} has no held-out images; name some "
                "with --data.test_path FOLDER, or hold a part back with --data.holdout 0.05"
            )
        found = self._weights()
        rates: list[float | str | None] = [None]  # foreign weights come in one kind only
        if found.config is not None:
            rates = [*from_values(found.config, found.source).model.ema_rates, "none"]
        results: dict[str, dict[str, Any]] = {}
        for rate in rates:
            found = self._weights(rate)
            denoiser = self._denoiser(found)
            values = evaluate.held_out_loss(denoiser, held_out, self.config, self.ranks)
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
                rundir.move_aside(path)
            rundir.write_text(path, json.dumps(record, indent=1) + "\n")

    def _choose(self, run: Path) -> str:
        """What to do about the run's folder: "new", "resume" or "overwrite"."""
        options = self.options
        if options.resume_training:
            rundir.require_run(run)
            return "resume"
        if not run.exists():
            return "new"
        if options.overwrite:
            return "overwrite"
        answer = rundir.ask(run) if rundir.may_ask(options.ni) else "quit"
        if answer == "quit":
            raise ConfigError(
                f"{run} exists; go on with it by --resume_training, or move it aside and start "
                "anew by --overwrite"
            )
        return answer

    def _weights(self, rate: float | str | None = None) -> weights.Weights:
        rate = rate if rate is not None else self.config.sampling.ema
        if self.options.use_pretrained is not None:
            source, home = self.options.use_pretrained or None, self.options.exp / "pretrained"
            return weights.pretrained(source, self.config, home, rate)
        run = rundir.require_run(self.options.run)
        return weights.of_run(run, self.config.sampling.ckpt_id, rate)

    def _denoiser(self, found: weights.Weights) -> Denoiser:
        """The network the weights belong to: a checkpoint of ours says which one that is."""
        if found.config is not None:
            self._adopt(from_values(found.config, found.source), found.source)
        model = self.config.model
        network = build(model.name, **(found.options or model.options))
        found.into(network)
        clip = 1.0 if self.config.sampler().clip else None
        network = laid_out(network.eval(), self.config, self.ranks.device)
        return Denoiser(network, self.process, clip=clip)

    def _adopt(self, saved: Config, source: str) -> None:
        """Take network, process and scaling of the data from the checkpoint, and say so where the
        config differs. Raises ConfigError for images of another shape.
        """
        for section in ("model", "diffusion"):
            theirs, ours = getattr(saved, section), getattr(self.config, section)
            if theirs != ours:
                log.warning("%s: its own %s section is used, not the config's", source, section)
        for key in ("image_size", "channels"):
            theirs, ours = getattr(saved.data, key), getattr(self.config.data, key)
            if theirs != ours:
                raise ConfigError(f"data.{key} {ours}: {source} was trained with {theirs}")
        scaling = {key: getattr(saved.data, key) for key in SCALING}
        if scaling != {key: getattr(self.config.data, key) for key in SCALING}:
            log.warning("%s: its own scaling of the data is used, not the config's", source)
        data = self.config.data.model_copy(update=scaling)
        update = {"model": saved.model, "diffusion": saved.diffusion, "data": data}
        self.config = self.config.model_copy(update=update)
        self.process = PROCESSES[saved.diffusion.process](**saved.diffusion.options)

    def _made_by(self, found: weights.Weights, nfe: int) -> dict[str, Any]:
        """Everything that decides what image i looks like, for samples.json and eval.json."""
        config, sampling, sampler = self.config, self.config.sampling, self.config.sampler()
        return {
            **found.provenance(),
            "sampler": {"name": sampler.name, **sampler.options, "clip": sampler.clip},
            "sample_type": sampling.sample_type,
            "grid": sampling.skip_type,
            "timesteps": steps_of(config, self.process),
            "nfe": nfe,
            "seed": config.seed,
            "precision": sampling.precision,
            "tf32": config.training.tf32,
            "device_type": self.ranks.device.type,
            "scaling": {key: getattr(config.data, key) for key in SCALING},
            "quantiser": "uint8, 255 x rounded half up",
        }

    def _image_folder(self, made_by: dict[str, Any]) -> Path:
        folder = self.options.samples

        def prepare() -> None:
            if self.options.overwrite and folder.exists():
                rundir.move_aside(folder)
            imagedir.claim(folder, made_by)

        self.ranks.on_first(prepare)
        return folder

    def _meter(self) -> Meter:
        dataset, _ = get_dataset(self.config, self.options.datasets)
        return Meter(self.config, dataset, self.cache, self.ranks)

    def _report(
        self, figures: dict[str, Any], meter: Meter, made_by: dict[str, Any], folder: Path
    ) -> None:
        if not self.ranks.first:
            return
        name = torch.cuda.get_device_name() if self.ranks.device.type == "cuda" else "cpu"
        record = {
            "figures": figures,
            "n_samples": self.config.sampling.n_samples,
            "reference": meter.described(),
            "made_by": {**made_by, "device": name, "processes": self.ranks.world},
            "versions": versions(),
            "command": self.options.command,
            "date": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        }
        path = folder / "eval.json"
        if path.exists():
            rundir.move_aside(path)
        rundir.write_text(path, json.dumps(record, indent=1) + "\n")
        for label, value in figures.items():
            print(f"{label:>28}  {value:.6g}", flush=True)
        yardstick = metrics.label("FID", meter.extractor, len(meter.reference.features) // 2)
        print(f"{yardstick + ' of real halves':>28}  {meter.reference.split_distance:.6g}")
        log.info("written to %s", path)
