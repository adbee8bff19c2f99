"""Weights to sample from: of a run's checkpoint, a file, a diffusers folder, or a hub id."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from configs.command.locate import config_beside
from configs.schema import Config, ConfigError
from configs.schema.problems import nearest
from configs.schema.source import read
from datasets import SOURCES
from models import checkpoint, interop

FILES = (".pth", ".pt", ".ckpt", ".pkl", ".safetensors")  # a hub id does not end so

log = logging.getLogger("skip_step")


@dataclass(frozen=True)
class Weights:
    """A state dict and where it came from.

    layout: "ours", or a foreign one that `interop.load_foreign` knows. average: "ema 0.9999" (a
    rate), "ema 500000" (a half-life in images), "raw", or what a foreign file says; step: of the
    training, None where a foreign file does not say it. config: the one inside a file of ours,
    data: its identity of the training images. told: everything that a foreign file tells, as
    `interop.read` says it. guide: weights of the model that guides these.
    """

    state: dict[str, Tensor]
    layout: str
    source: str
    average: str
    step: int | None = None
    config: dict[str, Any] | None = None
    data: dict[str, Any] | None = None
    told: dict[str, Any] = field(default_factory=dict)
    guide: Weights | None = None

    def into(self, network: nn.Module) -> None:
        """Load strictly. Raises ConfigError that names the file and what does not fit."""
        try:
            if self.layout == "ours":
                network.load_state_dict(self.state)
            else:
                interop.load_foreign(network, self.state, self.layout)
        except (RuntimeError, ValueError) as err:
            text = " ".join(str(err).split())
            raise ConfigError(f"{self.source} does not fit the network: {text}") from err

    @cached_property
    def sha256(self) -> str:
        """16 digits of the SHA-256 of the weights, whatever their file is called."""
        return checkpoint.weights_hash(self.state)

    def provenance(self) -> dict[str, Any]:
        """The weights as the record of a held-out loss or of a run in a sweep names them."""
        return {
            "weights": self.source,
            "weights_sha256": self.sha256,
            "weights_kind": self.average,
            "training_step": self.step,
        }


def chosen(found: Sequence[Weights], rate: float | str | None) -> Weights:
    """The weights of an average among all of a file: "none" the raw ones, None the first.

    rate: or half-life in images, as the run's config names its averages. A foreign file, and one
    without averages, has one kind only. Raises ConfigError for an average that is not there.
    """
    *averages, raw = found
    if not averages:
        return raw
    if rate is None:
        return averages[0]
    if rate == "none":
        return raw
    for one in averages:
        if one.average == f"ema {rate}":
            return one
    known = ", ".join(one.average.removeprefix("ema ") for one in averages)
    raise ConfigError(f"sampling.ema {rate}: {raw.source} holds the averages {known}")


def of_run(run: Path, ckpt_id: int | None) -> list[Weights]:
    """All weights of a run's newest valid checkpoint, or of the one of step `ckpt_id`.

    A folder that the DDIM repository left (`ckpt.pth` beside `ckpt_N.pth`) is read too. Raises
    ConfigError where there is no checkpoint, CheckpointError where none is valid.
    """
    if ckpt_id is not None:
        path = checkpoint.path_of(run, ckpt_id)
        if not path.exists():
            there = ", ".join(checkpoint_files(run)) or "no checkpoint"
            raise ConfigError(f"sampling.ckpt_id {ckpt_id}: no {path}; there is {there}")
        return of_file(path)
    found = checkpoint.latest(run, log.warning)
    if found is not None:
        return of_state(found[1], str(found[0]))
    if (run / "ckpt.pth").exists():
        return of_file(run / "ckpt.pth")
    if foreign := checkpoint_files(run):
        there = ", ".join(foreign)
        raise ConfigError(f"{run} holds no ckpt.pth; name one of {there}: --sampling.ckpt_id N")
    raise ConfigError(f"{run} holds no checkpoint yet; train it first, or wait for the first one")


def guide(text: str, logs: Path, side: int) -> Weights:
    """The first average of a file, or of a run below `logs` (`DOC`, or `DOC:STEP` at that step).
    side: of the images. Raises ConfigError where there is none.
    """
    if Path(text).is_file():
        return of_file(Path(text), side)[0]
    doc, _, step = text.partition(":")
    run = logs / doc
    if step and not step.isdecimal():
        raise ConfigError(
            f"--guide {text}: {step} is no training step; it should be as in DOC:5000"
        )
    if not run.is_dir() or ".." in run.parts:
        known = sorted(path.name for path in logs.iterdir()) if logs.is_dir() else []
        raise ConfigError(
            f"--guide {text}: no such file, and no such run in {logs}{nearest(doc, known)}"
        )
    if step and not checkpoint.path_of(run, int(step)).exists():
        there = ", ".join(checkpoint_files(run)) or "no checkpoint"
        raise ConfigError(f"--guide {text}: {run} has no checkpoint of this step; there is {there}")
    return of_run(run, int(step) if step else None)[0]


def checkpoint_files(run: Path) -> list[str]:
    """Names of all files `ckpt*.pth` in a run's folder, whichever program wrote them, by step."""
    names = [path.name for path in run.glob("ckpt*.pth")]
    return sorted(names, key=lambda name: (len(name), name))


def require_training(state: dict[str, Any], source: str) -> None:
    """Refuse a file of this program that is no training checkpoint; ValueError names it."""
    missing = [key for key in ("config", "network", "ema", "step") if key not in state]
    if missing:
        raise ValueError(
            f"{source}: not a training checkpoint, it holds no {' and no '.join(missing)}"
        )


def of_state(state: dict[str, Any], source: str) -> list[Weights]:
    """All weights of a checkpoint of this program: its averages in order, then the raw ones."""
    require_training(state, source)
    ema, raw = state["ema"] or {"rates": [], "averages": []}, state["network"]
    lives = (state["ema"] and state["config"]["model"].get("ema_half_life")) or ema["rates"]
    names = lives if isinstance(lives, list) else [lives]
    kinds = [(f"ema {n}", {**raw, **a}) for n, a in zip(names, ema["averages"], strict=True)]
    rest = (state["step"], state["config"], state.get("data"))
    return [Weights(part, "ours", source, kind, *rest) for kind, part in [*kinds, ("raw", raw)]]


def of_file(path: Path, side: int | None = None) -> list[Weights]:
    """All weights of a file or folder: a checkpoint of this program, or a foreign layout, about
    which a line is logged. side: of the images. Raises ConfigError for a file that is refused.
    """
    if path.is_file() and checkpoint.is_ours(path):
        return of_state(checkpoint.load(path), str(path))
    if beside := config_beside(path):
        return [_exported(path, beside)]
    try:
        state, told = interop.read(path, side)
    except (ValueError, FileNotFoundError) as err:
        raise ConfigError(" ".join(str(err).split())) from err
    log.info("%s", in_words(told))
    source, average, step = told["file"], told["weights"], told["step"]
    return [Weights(state, told["layout"], source, average, step, told=told)]


def _exported(path: Path, config: Path) -> Weights:
    """Weights that this program exported, under its own names, with the config beside them. The
    header of the file may tell "average" and "step". Raises ConfigError for a damaged one.
    """
    file = path / "model.safetensors" if path.is_dir() else path
    try:
        with safe_open(file, "pt") as opened:
            told = opened.metadata() or {}
            state = {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118
    except SafetensorError as err:
        raise ConfigError(f"{file}: damaged, or not a safetensors file") from err
    step = int(told["step"]) if told.get("step", "").isdecimal() else None
    values = read(config).values
    return Weights(state, "ours", str(file), told.get("average", "unknown"), step, values)


def in_words(told: dict[str, Any]) -> str:
    """Say in one line what a foreign file is, and what it does not tell."""
    how = told["diffusion"]
    words = [f"layout {told['layout']}", f"network {told['network']}", f"weights {told['weights']}"]
    words += [f"step {told['step']}"] if told["step"] is not None else []
    words += [f"process {how['process']}", f"predicts {how['predicts']}"] if how else []
    words += [f"or {other} where the config says so" for other in told["alike"]]
    line = f"{told['file']}: {', '.join(words)}"
    missing = ([] if how else ["process and prediction"]) + [*told["untold"]]
    line += f"; not in the file, so the config's: {', '.join(missing)}" if missing else ""
    return line + (f"; its own pipeline has {' '.join(told['asks'])}" if told["asks"] else "")


def pretrained(source: str | None, config: Config, root: Path) -> list[Weights]:
    """All weights that `--use_pretrained [SOURCE]` means: a file, a diffusers folder, a hub id;
    without SOURCE the published average of the config's data set, in ROOT/<data set> or from the
    hub. Raises ConfigError where there is none.
    """
    side = config.data.image_size
    if source is not None:
        path = Path(source)
        if path.exists():
            return of_file(path, side)
        if source.count("/") != 1 or path.suffix in FILES:
            raise ConfigError(f"--use_pretrained {source}: no such file or folder")
        otherwise = f"pass its folder: --use_pretrained {path.name}"
        return of_file(_download(source, otherwise), side)
    data, category = config.data, str(config.data.options.get("category") or "")
    name = f"{data.dataset}/{category}" if category else data.dataset
    home = root / name.lower().replace("/", "_")
    if home.exists():
        return of_file(home, side)
    published = SOURCES.parts[data.dataset].facts.published
    if category not in published:
        raise ConfigError(
            f"--use_pretrained: no published EMA model of {name} is known; name a checkpoint file, "
            "a diffusers folder or a hub id: --use_pretrained SOURCE"
        )
    return of_file(_download(published[category], f"put that folder at {home}"), side)


def _download(hub_id: str, otherwise: str) -> Path:
    files = ["config.json", "diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin"]
    wanted = [*files, *(f"unet/{file}" for file in files)]
    wanted += ["scheduler_config.json", "scheduler/scheduler_config.json"]
    way_out = f"fetch {files[0]} and {files[1]} of {hub_id} by hand and {otherwise}"
    try:
        import huggingface_hub
    except ModuleNotFoundError as err:
        raise ConfigError(
            f"--use_pretrained: {hub_id} needs `pip install huggingface_hub`; or {way_out}"
        ) from err
    try:
        folder = huggingface_hub.snapshot_download(hub_id, allow_patterns=wanted)
    except Exception as err:  # noqa: BLE001 - whatever the client raises, the way out is the same
        raise OSError(
            f"{hub_id} could not be downloaded ({type(err).__name__}); {way_out}"
        ) from err
    return Path(folder)
