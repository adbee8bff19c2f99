"""From a config to a way back from noise: its sampler on its grid, with as many steps as asked."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from configs import specs
from configs.schema import Config, ConfigError
from functions.adaptive import Adaptive
from functions.plan import Plan
from functions.process import Process

log = logging.getLogger("skip_step")


@dataclass(frozen=True)
class Walk:
    """A plan (or an adaptive solver) and where it comes from.

    sampler, grid: canonical specs; asked: steps asked of the grid, None for an adaptive solver;
    steps: what the grid has; warnings: what a person should know, one line each.
    """

    plan: Plan | Adaptive
    sampler: str
    grid: str
    asked: int | None
    steps: int | None
    warnings: tuple[str, ...]

    def __str__(self) -> str:
        if self.asked is None:
            return f"{self.sampler}: adaptive, its evaluations are known only afterwards"
        where = f"{self.sampler} on {self.grid}"
        return f"{where}: {self.steps} steps, {self.plan.nfe} network evaluations an image"


def walk_for(config: Config, process: Process) -> Walk:
    """The config's sampler on its grid, with sampling.timesteps steps (null: every time of the
    process) or the most steps that cost no more than sampling.nfe evaluations.

    Raises ConfigError where nfe is too small, ValueError where sampler, grid, process and number of
    steps do not go together.
    """
    sampling, every = config.sampling, process.steps or 1000
    if specs.is_adaptive(config.sampler().name):
        return _walk(config, process, every, asked=None)
    steps = sampling.timesteps or every
    if sampling.nfe:
        steps = _most_steps(config, process, sampling.nfe)
    return _walk(config, process, steps, steps)


def _walk(config: Config, process: Process, steps: int, asked: int | None) -> Walk:
    sampler, grid = config.sampler(), specs.grid(config.sampling.skip_type)
    times = grid.build(process, steps, **grid.options)
    if float(process.mean(times[0]).abs().max()) == 0:
        raise ValueError(
            f"sampling would begin at t = {times[0]:g}, where schedule "
            f"{config.diffusion.beta_schedule} leaves no signal at all: ask for fewer --timesteps"
        )
    plan, found, warnings = sampler.build(process, times, **sampler.options), len(times) - 1, []
    if found != steps:
        warnings.append(f"{steps} steps asked, grid {grid} has {found}")
    if float(process.factor(times[0]).max()) < 0.5:
        warnings.append(f"sampling begins at t = {times[0]:g}, where an image is hardly noise yet")
    return Walk(plan, str(sampler), str(grid), asked, asked and found, tuple(warnings))


def _most_steps(config: Config, process: Process, most: int) -> int:
    """The largest number of steps that costs at most so many evaluations."""

    def cost(steps: int) -> int:
        return _walk(config, process, steps, steps).plan.nfe or 0

    highest, error = process.steps or 10 * most, None
    steps = min(most, highest)
    while steps:
        try:
            if (found := cost(steps)) <= most:
                break
        except ValueError as err:  # too few steps for this sampler, most likely
            error = err
            steps = 0
        else:
            steps = min(steps - 1, steps * most // found)
    if not steps:
        raise _too_few(config, process, most, error)
    while steps < highest and cost(steps + 1) <= most:
        steps += 1
    return steps


def _too_few(
    config: Config, process: Process, most: int, error: ValueError | None
) -> ConfigError | ValueError:
    """Why no number of steps costs so little."""
    for steps in range(1, 21):
        try:
            found = _walk(config, process, steps, steps)
        except ValueError as err:
            error = error or err
        else:
            text = f"{found.sampler} needs at least {found.plan.nfe} evaluations ({steps} steps)"
            return ConfigError(f"--nfe {most}: {text}")
    return error or ValueError(f"--nfe {most}: nothing costs so little")
