"""The verb `sweep`: measure every run x sampler x number of steps x seed."""

from __future__ import annotations

from configs.command.options import Options
from configs.schema import Config
from runners.machine.processes import Ranks
from runners.sweep.job import Job


def sweep(config: Config, options: Options, ranks: Ranks) -> bool:
    """Measure what is left of this command's cells, into EXP/sweeps/NAME. Returns whether the sweep
    has a finished cell.

    No cell is measured twice, whichever job measures it; a kill loses the cell in progress at most.
    Exits with STOPPED when asked to. Raises ConfigError, before anything is drawn, where runs,
    samplers, steps or the cells in the folder do not go together.
    """
    return Job(config, options, ranks).run()
