"""Pictures of what a model does: --sample with a picture mode, one class in one file each."""

from __future__ import annotations

import logging
from dataclasses import replace

from configs import imports
from configs.command.options import Options
from configs.schema import Config, ConfigError
from runners.machine.processes import Ranks
from runners.machine.signals import leaving_on_request
from runners.picture.grid import GridMode
from runners.picture.img2img import Img2ImgMode
from runners.picture.inpaint import InpaintMode
from runners.picture.interpolation import InterpolationMode
from runners.picture.mode import Mode, Session
from runners.picture.nearest import NearestMode
from runners.picture.parts import PICTURES
from runners.picture.sequence import SequenceMode
from runners.record import image_folder
from runners.sampling.drawer import drawer_for
from runners.sampling.open import open_sampling
from runners.sampling.recipe import recipe_of
from runners.sampling.walk import NO_STEP

log = logging.getLogger("skip_step")


def picture(config: Config, options: Options, ranks: Ranks) -> None:
    """Draw the pictures of options.picture into their folder, or leave no folder behind. Raises
    ConfigError for several processes, and for what cannot be pictured.
    """
    mode: Mode = options.picture
    if ranks.world > 1:
        raise ConfigError(f"--{mode.name} takes one process: start it without torchrun")
    with leaving_on_request("the same command draws the picture from the beginning"):
        model, walk = open_sampling(config, options, ranks.device)
        config = model.config
        walked = mode.walked(config, model.process, walk)
        drawer = drawer_for(model, config, walked or walk, ranks.device)
        folder = options.samples
        session = Session(model, walk, walked, drawer, options, folder, ranks)
        told = {"mode": mode.name, **mode.identity(config), **mode.sources(session)}
        recipe = replace(
            recipe_of(model.weights, config, walk, ranks.device.type, told),
            nfe=walked.plan.nfe if walked else 0,
            imports=imports.records([*config.image_parts(), PICTURES.parts[mode.name]]),
        )
        with image_folder.claimed(folder, recipe, options.overwrite):
            log.info("%s", walked or NO_STEP)
            paths = mode.draw(session)
    log.info("%d files in %s; look at %s", len(paths), folder, paths[0])
