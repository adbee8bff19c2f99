"""What must fit together between keys of a config that are valid one by one."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial
from typing import TYPE_CHECKING, Any

from configs.schema import specs
from configs.schema.components import groups_of
from configs.schema.problems import Problem, nearest, show
from configs.schema.sections import PROCESS_KEYS
from configs.schema.source import Values

if TYPE_CHECKING:
    from configs.schema import Config

GROUPS = 32  # channels of the DDPM network are normalised in this many groups


def check(config: Config, given: Values, typed: Collection[str]) -> list[Problem]:
    """Every contradiction in a Config; `given` tells which keys were written by a person, `typed`
    which of them on the command line.
    """
    problems = _times(config) + _data(config) + _network(config)
    problems += _diffusion(config, given) + _loss(config) + _training(config)
    problems += _sampler(config, typed) + _sampling(config)
    return problems or _build(config)


def _times(config: Config) -> list[Problem]:
    from functions.times import TIMES

    name = config.training.times
    text = f"{name} is unknown; it should be {specs.either(TIMES)}{nearest(name, TIMES)}"
    return [] if name in TIMES else [Problem("training.times", text)]


def _data(config: Config) -> list[Problem]:
    data, problems = config.data, []
    if data.dataset == "LSUN" and data.category is None:
        problems.append(Problem("data.category", "is missing; LSUN needs one, such as bedroom"))
    if data.dataset != "LSUN" and data.category is not None:
        problems.append(Problem("data.category", f"is LSUN's; {data.dataset} has no categories"))
    if data.rescaled and data.logit_transform:
        text = "true has no effect beside rescaled: true; one of the two should be false"
        problems.append(Problem("data.logit_transform", text))
    return problems


def _network(config: Config) -> list[Problem]:
    data, options = config.data, config.model.options
    problems = []
    state = data.channels * groups_of(config.diffusion.process)
    same = {
        "in_channels": ("channels", state),
        "out_ch": ("channels", state),
        "image_size": ("image_size", data.image_size),
    }
    for key, (other, want) in same.items():
        if options.get(key, want) != want:
            text = f"{options[key]} does not fit data.{other}; it should be {want}, or left out"
            problems.append(Problem(f"model.{key}", text))
    problems += _option_ranges(options)
    mult, ch = options.get("ch_mult", (1,)), options.get("ch")
    halvings = len(mult) - 1 if isinstance(mult, tuple) else 0
    if halvings < 0:
        problems.append(Problem("model.ch_mult", "is empty; it should hold at least one number"))
    elif data.image_size % 2**halvings:
        text = f"{show(mult)} halves an image {halvings} times; data.image_size {data.image_size} "
        text += f"should be divisible by {2**halvings}"
        problems.append(Problem("model.ch_mult", text))
    if config.model.name == "ddpm" and isinstance(ch, int) and ch % GROUPS:
        problems.append(Problem("model.ch", f"{ch} should be a multiple of {GROUPS}"))
    return problems


def _option_ranges(options: dict[str, Any]) -> list[Problem]:
    """Ranges that the type of a network's option does not tell."""
    problems = []
    for key in ("ch", "num_res_blocks", "in_channels", "out_ch", "ch_mult", "attn_resolutions"):
        value = options.get(key, 1)
        if any(item < 1 for item in (value if isinstance(value, tuple) else (value,))):
            text = f"{show(value)} is not valid; it should be at least 1"
            problems.append(Problem(f"model.{key}", text))
    if not 0 <= options.get("dropout", 0) < 1:
        text = f"{options['dropout']} is not valid; it should be at least 0 and below 1"
        problems.append(Problem("model.dropout", text))
    return problems


def _diffusion(config: Config, given: Values) -> list[Problem]:
    diffusion, problems = config.diffusion, []
    for process, keys in PROCESS_KEYS.items():
        if process != diffusion.process:
            text = f"belongs to process {process}; process {diffusion.process} does not use it"
            written = [key for key in keys if key in given.get("diffusion", {})]
            problems += [Problem(f"diffusion.{key}", text) for key in written]
    if diffusion.mixed_score == "velocity" and diffusion.process != "cld":
        text = f"velocity belongs to process cld; process {diffusion.process} has none"
        problems.append(Problem("diffusion.mixed_score", text))
    for low, high in (("beta_start", "beta_end"), ("beta_min", "beta_max")):
        if low not in PROCESS_KEYS[diffusion.process]:
            continue
        start, end = getattr(diffusion, low), getattr(diffusion, high)
        if start > end:
            problems.append(Problem(f"diffusion.{low}", f"{start:g} is above {high}, {end:g}"))
    return problems


def _loss(config: Config) -> list[Problem]:
    options: dict[str, Any] = config.loss.options
    steps, problems = config.diffusion.num_diffusion_timesteps, []
    if config.loss.name == "skip" and config.diffusion.process not in ("vp", "vpsde"):
        text = f"skip is defined for vp and vpsde, not for {config.diffusion.process}"
        problems.append(Problem("loss.name", f"{text}; it should be simple"))
    if not 1 <= options.get("skip", 1) < steps:
        text = f"{options['skip']} is not valid; it should be at least 1 and below {steps}, "
        problems.append(Problem("loss.skip", text + "the number of diffusion steps"))
    if not 0 <= options.get("tau", 0) <= 1:
        text = f"{options['tau']} is not valid; it should be at least 0 and at most 1"
        problems.append(Problem("loss.tau", text))
    if not options.get("c_max", 1) > 0:
        problems.append(Problem("loss.c_max", f"{options['c_max']} should be above 0"))
    return problems


def _training(config: Config) -> list[Problem]:
    training = config.training
    if training.micro_batch and training.batch_size % training.micro_batch:
        text = f"{training.micro_batch} should divide batch_size, {training.batch_size}"
        return [Problem("training.micro_batch", text)]
    return []


def _sampler(config: Config, typed: Collection[str]) -> list[Problem]:
    """Specs that mean nothing, and keys that mean nothing to the chosen sampler."""
    sampling = config.sampling
    problems = [
        *_spec("sampling.skip_type", specs.grid, sampling.skip_type),
        *_spec("sampling.eps_scale", specs.eps_scale, sampling.eps_scale),
        *(found := _spec("sampling.sample_type", specs.sampler, sampling.sample_type)),
    ]
    if found:
        return problems
    kind, spec = sampling.sample_type, specs.sampler(sampling.sample_type)
    for key, value in sampling.said.items():
        if key not in spec.known or key in spec.given:
            text = f"{specs.show(value)} has no effect with sample_type {kind}; it should be "
            problems.append(Problem(f"sampling.{key}", text + ("0" if key == "eta" else "null")))
        else:
            check = partial(spec.with_option, key)
            problems += _spec(f"sampling.{key}", check, specs.show(value))
    if specs.is_adaptive(spec.name):
        text = f"has no effect with {kind}, which chooses its own steps; it should be left out"
        keys = [key for key in ("timesteps", "nfe") if f"sampling.{key}" in typed]
        problems += [Problem(f"sampling.{key}", text) for key in keys]
    return problems


def _spec(key: str, parse: Callable[[str], object], text: str) -> list[Problem]:
    try:
        parse(text)
    except specs.SpecError as err:
        return [Problem(key, str(err))]
    return []


def _sampling(config: Config) -> list[Problem]:
    sampling, problems = config.sampling, []
    steps = config.diffusion.num_diffusion_timesteps
    if config.diffusion.process == "vp" and (sampling.timesteps or 0) > steps:
        text = f"{sampling.timesteps} is more than the {steps} steps of the diffusion"
        problems.append(Problem("sampling.timesteps", text))
    if sampling.nfe and sampling.timesteps:
        text = f"{sampling.nfe} and timesteps {sampling.timesteps} exclude each other; give one"
        problems.append(Problem("sampling.nfe", text))
    rates = config.model.ema_rates
    if isinstance(sampling.ema, float) and sampling.ema not in rates:
        kept = ", ".join(f"{rate:g}" for rate in rates) or "nothing (model.ema is false)"
        text = f"{sampling.ema:g} is not averaged; model.ema_rate keeps {kept}"
        problems.append(Problem("sampling.ema", text))
    return problems


def _build(config: Config) -> list[Problem]:
    """What only the network, the process and their constructors know: made without memory."""
    import torch

    from models import build

    try:
        with torch.device("meta"):
            build(config.model.name, **config.model.options)
    except (ValueError, TypeError) as err:
        return [Problem("model", str(err))]
    try:
        process = config.process()
    except ValueError as err:
        return [Problem("diffusion", str(err))]
    grid = specs.grid(config.sampling.skip_type)
    try:
        grid.build(process, config.sampling.timesteps or process.steps or 1000, **grid.options)
    except ValueError as err:
        return [Problem("sampling.skip_type", str(err))]
    return []
