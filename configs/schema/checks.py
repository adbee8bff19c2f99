"""Checks of a config's keys against each other. Each key alone is already valid."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial
from typing import TYPE_CHECKING, Any

from configs.schema import specs
from configs.schema.averages import check_averages
from configs.schema.conditions import check_augment, check_conditions
from configs.schema.options import part_of, state_shape
from configs.schema.problems import Problem
from configs.values import show

if TYPE_CHECKING:
    from configs.schema import Config
    from functions.process import Process


def check(config: Config, typed: Collection[str], foreign: bool = False) -> list[Problem]:
    """Find every contradiction in a Config. typed: the keys that the command line set; foreign: a
    file of another program is going to tell network and process, so nothing is held to them yet.
    """
    problems = [*_data(config), *(_classes(config) or _shape(config)), *_training(config)]
    problems += [*_specs(config), *_sampling(config)]
    if foreign:
        return problems
    if not problems:
        problems = [*check_conditions(config), *(_learned(config) or _sampler(config, typed))]
    return problems or _build(config)


def _data(config: Config) -> list[Problem]:
    if config.data.rescaled and config.data.logit_transform:
        text = "true has no effect beside rescaled: true; one of the two should be false"
        return [Problem("data.logit_transform", text)]
    return check_augment(config) if config.data.augment else []


def _classes(config: Config) -> list[Problem]:
    """Labels that nothing gives, or nothing takes."""
    data, values = config.data, config.model_dump(include={"data", "model"})
    source, network = part_of("data", values["data"]), part_of("model", values["model"])
    classes, dropout = data.classes, config.training.label_dropout
    if not classes:
        text = f"{dropout:g} has no effect without labels; set data.classes, or leave it out"
        return [Problem("training.label_dropout", text)] if dropout else []
    known = source.facts.classes if source else None
    if source and source.facts.labels == "no":
        text = f"{show(classes)} asks for labels, and {data.dataset} has none; it should be false"
    elif classes is True:
        text = f"true does not say how many classes {data.dataset} has; give their number, as in 10"
    elif known not in (None, classes):
        text = f"{classes} does not fit {data.dataset}, which has {known}; it should be true"
    elif network and "classes" not in network.facts.shape.values():
        text = f"{show(classes)} needs a network that takes labels, and {network} does not"
    else:
        return []
    return [Problem("data.classes", text)]


def _shape(config: Config) -> list[Problem]:
    """Options of the network that repeat the shape of the process' state or of its own answer, or
    the classes.
    """
    values = config.model_dump(include={"data", "model", "diffusion", "training"})
    part, state = part_of("model", values["model"]), state_shape(values)
    learned = config.model.var_type == "learned"
    others = {"side": "data.image_size", "classes": "data.classes", "augment": "data.augment"}
    problems = []
    for key, what in part.facts.shape.items() if part else ():
        found, right = config.model.options[key], state[what]
        if found != right and not (what == "augment" and right == 0):  # told nothing, it takes 0
            other = others.get(what, "data.channels")
            other += " and var_type learned" * (what == "answer" and learned)
            other += " and training.label_dropout" * (what == "classes" and right is not None)
            text = f"{show(found)} does not fit {other}; it should be {show(right)}, or left out"
            if what == "answer" and found == 2 * state["channels"]:
                text += "; with model.var_type learned it fits"
            problems.append(Problem(f"model.{key}", text))
    return problems


def _training(config: Config) -> list[Problem]:
    training = config.training
    if training.micro_batch and training.batch_size % training.micro_batch:
        text = f"{training.micro_batch} should divide batch_size, {training.batch_size}"
        return [Problem("training.micro_batch", text)]
    return []


def _specs(config: Config) -> list[Problem]:
    """Texts that name parts."""
    sampling, evaluation = config.sampling, config.evaluation
    named: list[tuple[str, Callable[[str], Any], str]] = [
        ("training.times", specs.times, config.training.times),
        ("training.weight", specs.weight, config.training.weight),
        ("optim.anneal", specs.anneal, config.optim.anneal),
        ("sampling.sample_type", specs.sampler, sampling.sample_type),
        ("sampling.skip_type", specs.grid, sampling.skip_type),
        ("sampling.eps_scale", specs.scale, sampling.eps_scale),
        *([("sampling.clip", specs.clip, sampling.clip)] if isinstance(sampling.clip, str) else []),
        ("evaluation.features", specs.extractor, evaluation.features),
        *(("evaluation.metrics", specs.metric, text) for text in evaluation.metrics or ()),
    ]
    problems = [problem for key, read, text in named for problem in _spec(key, read, text)]
    if not problems and len(seen := [spec.name for spec in config.metrics()]) > len(set(seen)):
        twice = next(name for name in seen if seen.count(name) > 1)
        problems.append(Problem("evaluation.metrics", f"names {twice} twice; once is enough"))
    return problems


def _spec(key: str, read: Callable[[str], object], text: str) -> list[Problem]:
    try:
        read(text)
    except specs.SpecError as err:
        return [Problem(key, str(err))]
    return []


def _sampler(config: Config, typed: Collection[str]) -> list[Problem]:
    """Keys that mean nothing to the chosen sampler."""
    sampling, problems = config.sampling, []
    kind, spec = sampling.sample_type, specs.sampler(sampling.sample_type)
    for key, value in sampling.said.items():
        known = key in spec.part.options
        if key == "eta" and value == 0 and not (known and "sampling.eta" in typed):
            continue  # configs of version 0.1.0 hold eta 0 where nothing was said
        if not known or key in spec.given:
            text = f"{show(value)} has no effect with sample_type {kind}; it should be null"
            problems.append(Problem(f"sampling.{key}", text))
        else:
            problems += _spec(f"sampling.{key}", partial(spec.with_option, key), show(value))
    if spec.part.facts.adaptive:
        text = f"has no effect with {kind}, which chooses its own steps; it should be left out"
        keys = [key for key in ("timesteps", "nfe") if f"sampling.{key}" in typed]
        problems += [Problem(f"sampling.{key}", text) for key in keys]
    return problems


def _learned(config: Config) -> list[Problem]:
    """A learned variance, asked of a network that answers none."""
    sampling, var_type = config.sampling, config.model.var_type
    spec = specs.sampler(sampling.sample_type)
    asked = {"sample_type": spec.given.get("variance")}
    if "variance" in spec.part.options:
        asked["variance"] = sampling.variance
    return [
        Problem(
            f"sampling.{key}",
            f"{getattr(sampling, key)} needs a network that answers variances, but model.var_type "
            f"is {var_type}; the variance should be large or small",
        )
        for key, value in asked.items()
        if value == "learned" and var_type != "learned"
    ]


def _sampling(config: Config) -> list[Problem]:
    sampling, problems = config.sampling, []
    if sampling.nfe and sampling.timesteps:
        text = f"{sampling.nfe} and timesteps {sampling.timesteps} exclude each other; give one"
        problems.append(Problem("sampling.nfe", text))
    return problems + check_averages(config)


def _build(config: Config) -> list[Problem]:
    """Make process, network, loss, weight, times and time grid, and collect what they refuse."""
    try:
        process = config.process()
    except ValueError as err:
        return [_of_option("diffusion", config.diffusion.options, err)]
    if problems := _network(config, process):
        return problems
    loss = config.loss
    try:
        facts = part_of("loss", loss.model_dump()).facts  # type: ignore[union-attr]
        check_loss = facts.check
        if check_loss is not None:
            check_loss(process, **loss.options)
        if facts.learned == "must" and config.model.var_type != "learned":
            text = f"{loss.name} trains a variance; model.var_type should be learned, not "
            return [Problem("loss.name", text + config.model.var_type)]
    except ValueError as err:
        return [_of_option("loss", loss.options, err)]
    if problems := _of_training(config, process):
        return problems
    return _grid(config, process)


def _grid(config: Config, process: Process) -> list[Problem]:
    """Make the time grid, with the number of steps that is asked for."""
    sampling, grid, steps = config.sampling, config.grid(), config.sampling.timesteps
    if process.steps and (steps or 0) > process.steps:
        text = f"{steps} is more than the {process.steps} steps of the diffusion"
        return [Problem("sampling.timesteps", text)]
    try:
        own = config.steps_of_grid(process)
        if own and (sampling.nfe or steps not in (own, None)):
            key = "nfe" if sampling.nfe else "timesteps"
            text = f"does not fit skip_type {grid}, which has {own} steps; it should be left out"
            return [Problem(f"sampling.{key}", f"{sampling.nfe or steps} {text}")]
        grid.build(process, own or steps or process.steps or 1000, **grid.options)
    except ValueError as err:
        return [Problem("sampling.skip_type", str(err))]
    return []


def _of_training(config: Config, process: Process) -> list[Problem]:
    """Make the density of times and the loss weight for the process."""
    import torch

    ends = torch.tensor(process.t_train, dtype=torch.float64)
    made: list[tuple[str, Callable[[], Any]]] = [
        ("training.times", lambda: config.times(process)),
        ("training.weight", lambda: config.weight(process)(ends)),
    ]
    problems = []
    for key, make in made:
        try:
            make()
        except ValueError as err:
            problems.append(Problem(key, str(err)))
    return problems


def _network(config: Config, process: Process) -> list[Problem]:
    """Ask the network on the meta device: its answer must have the shape of the state, with a
    learned variance twice its channels.
    """
    import torch

    from datasets.augment import LABELS
    from models import build

    data, model = config.data, config.model
    shape = (2, data.channels * process.groups, data.image_size, data.image_size)
    try:
        with torch.device("meta"), torch.no_grad():
            network = build(model.name, **model.options)
            label = [torch.zeros(2, dtype=torch.int64)] if data.classes else []
            told = {"augment": torch.zeros(2, LABELS)} if data.augment else {}
            answer = network(torch.zeros(shape), torch.zeros(2), *label, **told)
    except (ValueError, TypeError, RuntimeError) as err:
        return [_of_option("model", model.options, err)]
    except Exception as err:  # noqa: BLE001  (whatever a network of a user's own raises)
        text = " ".join(f"network {model.name} raises {type(err).__name__}: {err}".split())
        return [Problem("model", text)]
    found = tuple(answer.shape) if isinstance(answer, torch.Tensor) else type(answer).__name__
    learned = model.var_type == "learned"
    if found != (2, shape[1] * (1 + learned), *shape[2:]):
        should = "the shape of the state" + ", with twice the channels" * learned
        text = f"network {model.name} answers {found} to a state {shape}; "
        return [Problem("model", text + f"its answer should have {should}")]
    try:
        config.denoiser(network, process)
    except ValueError as err:
        text = str(err)
        keys = {"a mixed": "diffusion.mixed_score", "a learned": "model.var_type"}
        named = (key for begin, key in keys.items() if text.startswith(begin))
        return [Problem(next(named, "diffusion.predicts"), text)]
    return []


def _of_option(section: str, options: Collection[str], err: Exception) -> Problem:
    """The problem of a part that was not made; its text may begin with the option's name."""
    text = " ".join(str(err).split())
    first, _, rest = text.partition(" ")
    key = first.rstrip(":")
    if key not in options:
        return Problem(section, text)
    return Problem(f"{section}.{key}", rest if first.endswith(":") else text)
