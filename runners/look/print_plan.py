"""--print_plan: the table of coefficients that a command would use."""

from __future__ import annotations

from configs.schema import Config
from runners.sampling.walk import NO_STEP, Walk, scale_for


def print_plan(config: Config, walk: Walk | None) -> list[str]:
    """Print a walk of the config, its warnings, the eps scale and its plan, line by line. walk:
    None for no step. Raises ConfigError for an eps scale that does not fit the process.
    """
    if walk is None:
        return [NO_STEP]
    scale_for(config, config.process())  # refuses what does not fit
    scale = config.scale()
    return [
        str(walk),
        *(f"note: {warning}" for warning in walk.warnings),
        *([f"the network's noise estimate is multiplied by {scale}"] if scale else []),
        str(walk.plan),
    ]
