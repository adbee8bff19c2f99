"""Pictures of what a model does: --sample with a picture mode, one class in one file each."""

from __future__ import annotations

import logging

from configs.command.options import Options
from configs.schema import Config, ConfigError
from runners.machine.processes import Ranks
from runners.machine.signals import leaving_on_request
from runners.model.load import open_model, weights_for
from runners.picture.grid import GridMode
from runners.picture.img2img import Img2ImgMode
from runners.picture.inpaint import InpaintMode
from runners.picture.interpolation import InterpolationMode
from runners.picture.mode import Mode, Session
from runners.picture.nearest import NearestMode
from runners.picture.parts import PICTURES
from runners.picture.sequence import SequenceMode
from runners.record import files, image_folder
from runners.sampling.recipe import made_by_of
from runners.sampling.walk import NO_STEP, walk_for

__all__ = [
    "PICTURES",
    "GridMode",
    "Img2ImgMode",
    "InpaintMode",
    "InterpolationMode",
    "Mode",
    "NearestMode",
    "SequenceMode",
    "Session",
    "picture",
]
log = logging.getLogger("skip_step")


def picture(config: Config, options: Options, ranks: Ranks) -> None:
    """Draw the pictures of options.picture into their folder, or leave no folder behind. Raises
    ConfigError for several processes, and for what cannot be pictured.
    """
    mode = mode_of(options)
    if ranks.world > 1:
        raise ConfigError(f"--{mode.name} takes one process: start it without torchrun")
    with leaving_on_request("the same command draws the picture from the beginning"):
        found = weights_for(config, options)
        model = open_model(config, found, ranks.device)
        config, walk = model.config, walk_for(model.config, model.process)
        for warning in walk.warnings:
            log.warning(warning)
        walked = mode.walked(config, model.process, walk)
        drawer = model.drawer(config, walked or walk, ranks.device)
        folder = options.samples
        session = Session(model, walk, walked, drawer, options, folder, ranks)
        made_by = {
            **found.provenance(),
            **made_by_of(config, walk, ranks.device.type),
            "nfe": walked.plan.nfe if walked else 0,
            "picture": mode.name,
            **mode.identity(config),
            **mode.sources(session),
        }
        if options.overwrite and folder.exists():
            files.move_aside(folder)
        image_folder.claim(folder, made_by)
        log.info("%s", walked or NO_STEP)
        try:
            paths = mode.draw(session)
        except BaseException:
            image_folder.release(folder)
            raise
    log.info("%d files in %s; look at %s", len(paths), folder, paths[0])


def mode_of(options: Options) -> Mode:
    """The mode of a command. Raises ConfigError for options that it refuses."""
    told = options.picture
    if isinstance(told, Mode):
        return told
    assert told is not None
    part = PICTURES.parts[told.mode]
    known = {**vars(told), "size": f"{told.rows}x{told.columns}"}
    try:
        return part.build(**{key: known[key] for key in part.options})
    except ValueError as err:
        text = str(err)
        raise ConfigError(text if text.startswith("--") else f"--{told.mode} {text}") from err
