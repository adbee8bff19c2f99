"""Programs that an export is for, and which models each of them can express."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from configs.schema import Config, ConfigError
from configs.values import either

ELSEWHERE = "--layout safetensors holds any model"


@dataclass(frozen=True)
class Program:
    """name: in messages. networks: of ours that it has. predicts: of each process that it has, the
    predictions. schedules: noise schedules of process vp, () for any. classes: whether it samples
    with labels; learned: with a variance that the network answers.
    """

    name: str
    networks: tuple[str, ...]
    predicts: Mapping[str, tuple[str, ...]]
    schedules: tuple[str, ...] = ()
    classes: bool = False
    learned: bool = True


PROGRAMS = {
    "diffusers": Program(
        "diffusers",
        networks=("ddpm", "adm"),
        predicts={"vp": ("eps", "x0", "v"), "flow": ("velocity",)},
    ),
    "ddim": Program(
        "the DDIM repository",
        networks=("ddpm",),
        predicts={"vp": ("eps",)},
        schedules=("linear", "quad", "const", "jsd", "sigmoid"),
        learned=False,
    ),
    "adm": Program(
        "guided-diffusion",
        networks=("adm",),
        predicts={"vp": ("eps", "x0")},
        schedules=("linear", "cosine"),
        classes=True,
    ),
}


def refuse(config: Config, layout: str) -> None:
    """Raise ConfigError, one line, for a model that the program of a layout cannot express."""
    if reason := next(_reasons(config, PROGRAMS[layout]), None):
        raise ConfigError(f"{reason}; {ELSEWHERE}")


def _reasons(config: Config, program: Program) -> Iterator[str]:
    model, how, name = config.model, config.diffusion, program.name
    if how.process not in program.predicts:
        text = f"{name} has no process {how.process}, it has {either(program.predicts)}"
        yield f"diffusion.process: {text}"
        return
    if how.predicts not in (known := program.predicts[how.process]):
        text = f"{name} has no prediction {how.predicts} on this process, it has {either(known)}"
        yield f"diffusion.predicts: {text}"
    if how.mixed_score != "none":
        yield f"diffusion.mixed_score: {name} adds nothing to the answer of a network"
    schedule = how.options.get("schedule")
    if program.schedules and schedule not in program.schedules:
        text = f"{name} has no noise schedule {schedule}, it has {either(program.schedules)}"
        yield f"diffusion.schedule: {text}"
    if model.name not in program.networks:
        text = f"{name} has no network {model.name}, it has {either(program.networks)}"
        yield f"model.name: {text}"
    if config.data.classes and not program.classes:
        yield f"data.classes: {name} samples without labels"
    if model.options.get("augment_dim"):
        yield f"model.augment_dim: {name} tells its networks of no augmentation"
    if model.var_type == "learned" and not program.learned:
        yield f"model.var_type: {name} has no learned variance"
    if not config.data.rescaled and program.name == "diffusers":
        text = f"{name} shows the pixels of [-1, 1], as with data.rescaled true"
        yield f"data.rescaled: false: {text}"
    yield from _of_flow(config, name)


def _of_flow(config: Config, name: str) -> Iterator[str]:
    if config.diffusion.process != "flow":
        return
    told = config.diffusion.options["time"]
    if told != "1000t":
        yield f"diffusion.time: {name} tells networks 1000t, not {told}"
    if config.sampler().clip:
        yield f"sampling.clip: {name} clips nothing on a flow"
    if config.model.var_type == "learned":
        yield f"model.var_type: {name} has no learned variance on a flow"
