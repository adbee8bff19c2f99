"""Training: one run in its folder EXP/logs/DOC."""

from __future__ import annotations

import logging

from configs.command.options import Options
from configs.schema import Config, ConfigError
from datasets import get_dataset
from functions.loss import LOSSES
from runners.machine.processes import Ranks
from runners.model.classes import require_labels
from runners.train.loop import TrainingRun
from runners.train.resume import choose, open_run
from runners.train.trainer import new_trainer

log = logging.getLogger("skip_step")


def train(config: Config, options: Options, ranks: Ranks) -> None:
    """Train a new run, or go on with one, in EXP/logs/DOC.

    Raises ConfigError for a learned variance that the loss does not train.
    """
    if config.model.var_type == "learned" and LOSSES.parts[config.loss.name].facts.learned == "no":
        raise ConfigError(
            f"loss.name {config.loss.name} does not train the variance of model.var_type learned; "
            "it should be hybrid or kl, or model.var_type fixedlarge"
        )
    choice = ranks.on_first(lambda: choose(options))
    dataset, held_out = get_dataset(config, options.datasets)
    require_labels(config, dataset, held_out)
    trainer = new_trainer(config, ranks)
    state = open_run(config, options, choice, dataset, ranks)
    if state is not None:
        trainer.load(state)
    if ranks.first:
        handler = logging.FileHandler(options.run / "stdout.txt")
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        log.addHandler(handler)
    TrainingRun(trainer, options.run, options.tensorboard, dataset, held_out).go()
