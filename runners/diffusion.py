"""class Diffusion: one config and one set of paths, wired to the verbs. No mathematics here."""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import cached_property, partial

from configs.command.options import Options, Picture
from configs.schema import Config, ConfigError
from runners import picture as pictures
from runners.machine import precision, processes
from runners.machine.processes import Ranks
from runners.machine.signals import leaving_on_request
from runners.measure.meter import open_meter
from runners.picture import Studio, nearest
from runners.record import image_folder
from runners.sample import sample
from runners.sampling.drawer import drawer_for
from runners.sampling.open import open_sampling
from runners.sampling.recipe import recipe_of
from runners.sweep import job
from runners.test import test
from runners.train import train

log = logging.getLogger("skip_step")


class Diffusion:
    """A command: its config, its options, and one method for each verb.

    Raises ConfigError for a wrong usage, other exceptions for failures; main.py turns both into one
    line and an exit code.
    """

    def __init__(self, config: Config, options: Options) -> None:
        self.config, self.options = config, options

    @cached_property
    def ranks(self) -> Ranks:
        """The processes of this command; started by the first verb that computes."""
        precision.set_up(self.config.training.tf32)
        return processes.start(self.options.device)

    def __enter__(self) -> Diffusion:
        return self

    def __exit__(self, *_error: object) -> None:
        """Leave the process group: a process that ends inside it may be aborted."""
        processes.stop()

    def train(self) -> None:
        """Train, or go on training, in EXP/logs/DOC."""
        train(self.config, self.options, self.ranks)

    def sample(self) -> None:
        """Draw images and measure them, or draw one of the pictures."""
        if self.options.picture is not None:
            _draw_picture(self.config, self.options, self.options.picture, self.ranks)
        else:
            sample(self.config, self.options, self.ranks)

    def sweep(self) -> None:
        """Measure every combination of runs, samplers, step counts and seeds."""
        meter = partial(open_meter, options=self.options, ranks=self.ranks)
        job.Job(self.config, self.options, self.ranks, meter).go()

    def test(self) -> None:
        """Measure the held-out loss, for the averaged and the raw weights."""
        test(self.config, self.options, self.ranks)


def _draw_picture(config: Config, options: Options, picture: Picture, ranks: Ranks) -> None:
    if ranks.world > 1:
        raise ConfigError(f"--{picture.mode} takes one process: start it without torchrun")
    with leaving_on_request("the same command draws the picture from the beginning"):
        model, walk = open_sampling(config, options, ranks.device)
        config = model.config
        walked = pictures.walked(config, model.process, walk, picture)
        drawer = drawer_for(model, config, walked or walk, ranks.device)
        told = {"mode": picture.mode, **pictures.PICTURES[picture.mode].identity(config, picture)}
        gallery = None
        if picture.mode == "nearest":
            gallery = nearest.gallery(config, options, ranks)
            told |= nearest.searched(gallery)
        folder = options.samples
        recipe = recipe_of(model, config, walked or walk, ranks.device.type, told)
        if walked is None:
            recipe = replace(recipe, nfe=0)
        image_folder.claim(folder, recipe, options.overwrite)
        log.info("%s", walked or pictures.NOTHING)
        studio = Studio(model, config, walk, walked, drawer, options, folder, ranks, gallery)
        try:
            paths = pictures.PICTURES[picture.mode].draw(studio)
        except BaseException:
            image_folder.release(folder)
            raise
    log.info("%d files in %s; look at %s", len(paths), folder, paths[0])
