"""The held-out loss of a trained model, for every kind of its weights."""

from __future__ import annotations

import json
from typing import Any

from configs.command.options import Options
from configs.schema import Config, ConfigError
from datasets import ImageDataset, get_dataset
from runners.machine.processes import Ranks
from runners.machine.versions import versions
from runners.measure.held_out import held_out_loss
from runners.model.load import all_weights, open_model
from runners.record import files


def test(config: Config, options: Options, ranks: Ranks) -> None:
    """Print the held-out loss, whole and by quartile of t, for each average and the raw weights;
    of a run, write EXP/logs/DOC/test-STEP.json.

    Raises ConfigError where the data set has no held-out images.
    """
    _, held_out = get_dataset(config, options.datasets)
    if held_out is None:
        raise ConfigError(
            f"--test: data set {config.data.dataset} has no held-out images; name some "
            "with --data.test_path FOLDER, or hold a part back with --data.holdout 0.05"
        )
    results: dict[str, dict[str, Any]] = {}
    for found in all_weights(config, options):
        model = open_model(config, found, ranks.device)
        losses = held_out_loss(model.denoiser(), held_out, model.config, ranks)
        results[found.average] = {**losses, **found.provenance()}
        if ranks.first:
            shown = "  ".join(f"{name} {value:.5f}" for name, value in losses.items())
            print(f"{found.average:>12}  {shown}  ({len(held_out):,} held-out images)", flush=True)
    if ranks.first and options.use_pretrained is None:
        _write(results, held_out, config, options)


def _write(
    results: dict[str, dict[str, Any]], held_out: ImageDataset, config: Config, options: Options
) -> None:
    record = {
        "losses": results,
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
