"""The held-out loss and likelihood of a trained model."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

from configs.command.options import Options
from configs.schema import Config, ConfigError
from datasets import ImageDataset, get_dataset
from runners.machine.processes import Ranks
from runners.machine.versions import versions
from runners.measure import likelihood
from runners.measure.held_out import held_out_loss
from runners.measure.likelihood import Likelihood
from runners.model import weights
from runners.model.load import Model, all_weights, open_model
from runners.record import files

log = logging.getLogger("skip_step")


def test(config: Config, options: Options, ranks: Ranks) -> None:
    """Print the held-out loss, whole and by quartile of t, for each average and the raw weights,
    and bits per dimension for the weights that sampling would take; of a run, write
    EXP/logs/DOC/test-STEP.json.

    Raises ConfigError where the data set has no held-out images.
    """
    _, held_out = get_dataset(config, options.datasets)
    if held_out is None:
        raise ConfigError(
            f"--test: data set {config.data.dataset} has no held-out images; name some "
            "with --data.test_path FOLDER, or hold a part back with --data.holdout 0.05"
        )
    every = all_weights(config, options)
    drawn = weights.chosen(every, config.sampling.ema)
    measure = _likelihood(open_model(config, drawn, ranks.device), options)
    results: dict[str, dict[str, Any]] = {}
    for found in every:
        model = open_model(config, found, ranks.device)
        losses = held_out_loss(model.denoiser(), held_out, model.config, ranks)
        results[found.average] = {**losses, **found.provenance()}
        if ranks.first:
            shown = "  ".join(f"{name} {value:.5f}" for name, value in losses.items())
            print(f"{found.average:>12}  {shown}  ({len(held_out):,} held-out images)", flush=True)
    bits = measure(held_out, ranks) if measure else None
    if ranks.first and bits:
        print(f"{drawn.average:>12}  {bits}", flush=True)
    if ranks.first and options.use_pretrained is None:
        _write(results, bits, held_out, config, options)


def _likelihood(
    model: Model, options: Options
) -> Callable[[ImageDataset, Ranks], Likelihood] | None:
    """Measurement of bits per dimension that --likelihood asks for; None where it asks for none, or
    where they are not defined and nobody asked. Raises ConfigError where they are not defined.
    """
    config, kind = model.config, options.likelihood
    spec, most = config.sampler(), config.evaluation.test_images
    variance = spec.options.get("variance") if spec.name == "ddpm" else None
    denoiser = config.denoiser(model.network, model.process, variance=variance)
    if kind == "none":
        return None
    if why := likelihood.undefined(config, denoiser, kind or "bound"):
        if kind is not None:
            raise ConfigError(f"--likelihood {kind}: {why}")
        log.info("no bits per dimension: %s", why)
        return None
    how = likelihood.flow if kind == "ode" else likelihood.bound
    return lambda images, ranks: how(denoiser, images, config, ranks, most)


def _write(
    results: dict[str, dict[str, Any]],
    bits: Likelihood | None,
    held_out: ImageDataset,
    config: Config,
    options: Options,
) -> None:
    record = {
        "losses": results,
        "likelihood": None if bits is None else vars(bits),
        "loss": config.loss.model_dump(mode="json"),
        "held_out_images": len(held_out),
        "held_out_fingerprint": held_out.fingerprint(),
        "seed": config.seed,
        "versions": versions(),
    }
    steps = dict.fromkeys(str(result["training_step"]) for result in results.values())
    path = options.run / f"test-{'-'.join(steps)}.json"
    if path.exists():
        files.move_aside(path)
    files.write_text(path, json.dumps(record, indent=1) + "\n")
