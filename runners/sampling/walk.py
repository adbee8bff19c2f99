"""The walk from noise to data: a config's sampler on its time grid, with the steps it asks for."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from torch import Tensor

from configs.schema import Config, ConfigError
from functions.adaptive import Adaptive
from functions.basis import silent
from functions.denoiser import Predicts, tells
from functions.plan import Plan
from functions.process import Process
from functions.scales import Scale

NO_STEP = "no step is walked: the images stay as they are"  # instead of a walk


@dataclass(frozen=True)
class Walk:
    """A plan (or an adaptive solver) and where it comes from.

    times: the time grid, decreasing; sampler, grid: canonical specs; asked: steps asked of the
    grid, steps: those it has, both None for an adaptive solver; warnings: one line each.
    """

    plan: Plan | Adaptive
    times: Tensor
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
    """Build the config's sampler on its grid, with sampling.timesteps steps (null: as many as the
    grid's own options say, else every time of the process) or with the most steps that cost at most
    sampling.nfe evaluations.

    Raises ConfigError where nfe is too small, or where sampler, grid, process and number of steps
    do not go together.
    """
    sampling = config.sampling
    try:
        every = config.steps_of_grid(process) or process.steps or 1000
    except ValueError as err:
        raise ConfigError(str(err)) from err
    if config.sampler().part.facts.adaptive:
        return _walk(config, process, every, asked=None)
    steps = sampling.timesteps or every
    if sampling.nfe:
        steps = _most_steps(config, process, sampling.nfe)
    return _walk(config, process, steps, steps)


def end_of(config: Config, process: Process, walk: Walk, steps: int) -> Walk:
    """Build a walk of the last `steps` steps of another one. Raises ConfigError where these are too
    few for the sampler.
    """
    sampler, times = config.sampler(), walk.times[-steps - 1 :]
    try:
        plan = sampler.build(process, times, **sampler.options)
    except (ValueError, ArithmeticError) as err:
        raise ConfigError(f"the last {steps} steps of {walk.grid}: {err}") from err
    return replace(walk, plan=plan, times=times, steps=walk.asked and steps, warnings=())


def scale_for(config: Config, process: Process) -> Scale | None:
    """Build the config's scale of the predicted noise; None for none. Raises ConfigError where it
    does not fit the process.
    """
    spec = config.scale()
    if spec is None:
        return None
    try:
        return spec.build(process, **spec.options)
    except ValueError as err:
        raise ConfigError(f"eps_scale {spec}: {err}") from err


def _walk(config: Config, process: Process, steps: int, asked: int | None) -> Walk:
    sampler, grid = config.sampler(), config.grid()
    try:
        times = grid.build(process, steps, **grid.options)
        if not tells(process, float(times[0]), _answers(config)):
            noisy, advice = "the process", "it is too noisy for any sampler"
            if config.diffusion.process == "vp":
                noisy = f"schedule {config.diffusion.options['schedule']}"
                advice = "take another --skip_type, such as quad"
                free = asked and grid.part.facts.count is None
                if free and not silent(process, grid.build(process, 1, **grid.options)[0]):
                    advice = "ask for fewer --timesteps"
            if config.scale():
                advice = "an eps scale acts on noise, which tells nothing there"
            raise ValueError(
                f"sampling would begin at t = {times[0]:g}, where {noisy} leaves no signal at "
                f"all: {advice}"
            )
        plan = sampler.build(process, times, **sampler.options)
        if sampler.clip and sampler.clip.options["keep_eps"] and not _tells_noise(plan):
            raise ValueError(
                f"clip {sampler.clip} keeps the predicted noise, for which {sampler} does not ask "
                "here; take ddim, or leave keep_eps out"
            )
    except (ValueError, ArithmeticError) as err:  # ArithmeticError: a grid too fine for float64
        raise ConfigError(str(err)) from err
    found, warnings = len(times) - 1, []
    if found != steps:
        warnings.append(f"{steps} steps asked, grid {grid} has {found}")
    factor = process.factor(times[0])
    if float((factor @ factor.mT)[..., 0, 0].max()) < 0.25:  # of CLD the positions
        warnings.append(f"sampling begins at t = {times[0]:g}, where an image is hardly noise yet")
    names = str(sampler), str(grid)
    return Walk(plan, times, *names, asked, asked and found, tuple(warnings))


def _tells_noise(plan: Plan | Adaptive) -> bool:
    """Whether the walk is a plan with answers as noise."""
    return isinstance(plan, Plan) and plan.basis == "eps"


def _answers(config: Config) -> Predicts:
    """Prediction of the sampled denoiser: an eps scale acts on the noise."""
    return "eps" if config.scale() else config.diffusion.predicts


def _most_steps(config: Config, process: Process, most: int) -> int:
    """Find the largest number of steps that costs at most `most` evaluations."""

    def cost(steps: int) -> float:
        try:
            return _walk(config, process, steps, steps).plan.nfe or 0
        except ConfigError:  # too few steps for the sampler, or a time that has no signal
            return math.inf

    highest = process.steps or 10 * most
    steps = min(most, highest)
    while steps and (found := cost(steps)) > most:
        steps -= 1
        if math.isfinite(found):
            steps = min(steps, (steps + 1) * most // int(found))
    if not steps:
        raise _too_few(config, process, most)
    while steps < highest and cost(steps + 1) <= most:
        steps += 1
    return steps


def _too_few(config: Config, process: Process, most: int) -> ConfigError:
    """Say why no number of steps costs so little."""
    error = None
    for steps in range(1, 1 + min(20, process.steps or 20)):
        try:
            found = _walk(config, process, steps, steps)
        except ConfigError as err:
            error = err
        else:
            text = f"{found.sampler} needs at least {found.plan.nfe} evaluations ({steps} steps)"
            return ConfigError(f"--nfe {most}: {text}")
    assert error is not None
    return error
