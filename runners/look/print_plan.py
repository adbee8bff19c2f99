"""--print_plan: the table of coefficients that a command would use."""

from __future__ import annotations

from configs.command.options import Picture
from configs.schema import Config, specs
from runners import picture as pictures
from runners.sampling.walk import scale_for, walk_for


def print_plan(config: Config, picture: Picture | None = None) -> list[str]:
    """The table of coefficients that the config's sampling would walk, or drawing this picture,
    line by line.

    Raises ConfigError where sampler, grid, process, eps scale and steps do not go together, or the
    picture cannot be drawn with them.
    """
    process = config.process()
    walk, scale = walk_for(config, process), specs.eps_scale(config.sampling.eps_scale)
    if picture is not None:
        pictures.identity(config, picture)  # refuses what cannot be pictured
        walked = pictures.walked(config, process, walk, picture)
        if walked is None:
            return [pictures.NOTHING]
        walk = walked
    scale_for(config, process)  # refuses what does not fit the process
    return [
        str(walk),
        *(f"note: {warning}" for warning in walk.warnings),
        *([f"the network's noise estimate is multiplied by {scale}"] if scale else []),
        str(walk.plan),
    ]
