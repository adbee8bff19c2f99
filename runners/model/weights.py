"""Which weights to sample from: a run's checkpoint, a file, a diffusers folder, or a hub id."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from configs.schema import Config, ConfigError
from datasets import SOURCES
from models import checkpoint, interop

log = logging.getLogger("skip_step")


@dataclass(frozen=True)
class Weights:
    """A state dict and where it came from.

    layout: "ours", or a foreign one that `interop.load_foreign` knows; kind: "ema 0.9999", "raw",
    ...; step: the training step; config: the one inside a file of ours, data: its identity of the
    training images; options: the network's, where a foreign file says them.
    """

    state: dict[str, Tensor]
    layout: str
    source: str
    kind: str
    step: int | None = None
    config: dict[str, Any] | None = None
    data: dict[str, Any] | None = None
    options: dict[str, Any] | None = None

    def into(self, network: nn.Module) -> None:
        """Load strictly; ValueError names what does not fit and the file."""
        try:
            if self.layout == "ours":
                network.load_state_dict(self.state)
            else:
                interop.load_foreign(network, self.state, self.layout)
        except (RuntimeError, ValueError) as err:
            text = " ".join(str(err).split())
            raise ValueError(f"{self.source} does not fit the config's network: {text}") from err

    def provenance(self) -> dict[str, Any]:
        """What an eval.json says about them."""
        return {
            "weights": self.source,
            "weights_sha256": checkpoint.weights_hash(self.state),
            "weights_kind": self.kind,
            "training_step": self.step,
        }


def of_run(run: Path, ckpt_id: int | None, rate: float | str | None) -> Weights:
    """The weights of a run: its newest valid checkpoint, or the one of step `ckpt_id`.

    A folder that the DDIM repository left (ckpt.pth) is read too. Raises ConfigError where there is
    no checkpoint, CheckpointError where none is valid.
    """
    if ckpt_id is not None:
        path = checkpoint.path_of(run, ckpt_id)
        if not path.exists():
            steps = ", ".join(map(str, checkpoint.steps(run))) or "none"
            raise ConfigError(f"sampling.ckpt_id {ckpt_id}: no {path}; steps there: {steps}")
        return of_state(checkpoint.load(path), str(path), rate)
    found = checkpoint.latest(run, log.warning)
    if found is not None:
        return of_state(found[1], str(found[0]), rate)
    if (run / "ckpt.pth").exists():
        return of_file(run / "ckpt.pth", rate)
    raise ConfigError(f"{run} holds no checkpoint yet; train it first, or wait for the first one")


def require_training(state: dict[str, Any], source: str) -> None:
    """Refuse a file of this program that is no training checkpoint; ValueError names it."""
    missing = [key for key in ("config", "network", "ema", "step") if key not in state]
    if missing:
        raise ValueError(
            f"{source}: not a training checkpoint, it holds no {' and no '.join(missing)}"
        )


def of_state(state: dict[str, Any], source: str, rate: float | str | None) -> Weights:
    """Our own checkpoint: the average of `rate` (None: the first), "none" for the raw ones."""
    require_training(state, source)
    rates = state["ema"]["rates"] if state["ema"] else []
    rest = (state["step"], state["config"], state.get("data"))
    if rate == "none" or not rates:
        return Weights(state["network"], "ours", source, "raw", *rest)
    if rate is not None and rate not in rates:
        known = ", ".join(str(r) for r in rates)
        raise ConfigError(f"sampling.ema {rate}: {source} holds the averages {known}")
    chosen = rates.index(rate) if rate is not None else 0
    average = {**state["network"], **state["ema"]["averages"][chosen]}
    return Weights(average, "ours", source, f"ema {rates[chosen]}", *rest)


def of_file(path: Path, rate: float | str | None = None) -> Weights:
    """Any file or folder this program can read: its own checkpoint or a foreign layout."""
    if path.is_file() and checkpoint.is_ours(path):
        return of_state(checkpoint.load(path), str(path), rate)
    state, info = interop.read(path)
    return Weights(state, info["layout"], info["file"], info["weights"], options=info["options"])


def pretrained(source: str | None, config: Config, root: Path, rate: float | str | None) -> Weights:
    """`--use_pretrained [SOURCE]`: a file, a diffusers folder, a hub id; without SOURCE the
    published EMA model of the config's data set, looked for in ROOT/<data set> first.
    """
    if source is not None:
        path = Path(source)
        if path.exists():
            return of_file(path, rate)
        if source.count("/") != 1 or path.suffix in (".pth", ".pt", ".ckpt", ".safetensors"):
            raise ConfigError(f"--use_pretrained {source}: no such file or folder")
        return of_file(_download(source, f"pass its folder: --use_pretrained {path.name}"), rate)
    data, category = config.data, config.data.category or ""
    name = f"{data.dataset}/{category}" if category else data.dataset
    home = root / name.lower().replace("/", "_")
    if home.exists():
        return of_file(home, rate)
    published = SOURCES.parts[data.dataset].facts.published
    if category not in published:
        raise ConfigError(
            f"--use_pretrained: no published EMA model of {name} is known; name a checkpoint file, "
            "a diffusers folder or a hub id: --use_pretrained SOURCE"
        )
    return of_file(_download(published[category], f"put that folder at {home}"), rate)


def _download(hub_id: str, otherwise: str) -> Path:
    files = ["config.json", "diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin"]
    way_out = f"fetch {files[0]} and {files[1]} of {hub_id} by hand and {otherwise}"
    try:
        import huggingface_hub
    except ModuleNotFoundError as err:
        raise ConfigError(
            f"--use_pretrained: {hub_id} needs `pip install huggingface_hub`; or {way_out}"
        ) from err
    try:
        folder = huggingface_hub.snapshot_download(hub_id, allow_patterns=files)
    except Exception as err:  # noqa: BLE001 - whatever the client raises, the way out is the same
        raise OSError(
            f"{hub_id} could not be downloaded ({type(err).__name__}); {way_out}"
        ) from err
    return Path(folder)
