"""Files of weights of other programs."""

import argparse
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from models.interop import adm, ddim, diffusers, dit, edm, scheduler, score_sde
from models.interop.names import unwrapped
from models.interop.unpickle import unpickle

# layout of a plain state dict: weights that only it has, the first layout that has them all
_MARKS = {
    "ncsnpp": ("temb.dense.0.weight", "down.0.norm1.weight"),
    "ddim": ("temb.dense.0.weight",),
    "diffusers": ("time_embedding.linear_1.weight",),
    "adm": ("time_embed.0.weight",),
    "dit": ("x_embedder.proj.weight", "t_embedder.mlp.0.weight"),
}
_ZIP, _TORCH = b"PK", b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."  # new and old files of PyTorch


def read(
    path: str | os.PathLike, side: int | None = None
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read weights from a file or folder of another program, and what is known about them.

    path: a checkpoint of DDIM's, guided-diffusion's, score_sde's, torchcfm's or DiT's trainer, a
    pickle of EDM or EDM2, a plain state dict (.ckpt, .pth, .pt, .bin, .safetensors), or a diffusers
    folder (config.json beside the weights). docs/checkpoints.md says how each is recognised. Where
    there is an average, it is taken. Weights of 16 bits become float32. side: of the images, by
    which two networks name their levels with attention.

    The second value holds what the file tells, None for what it does not: "layout"; "weights":
    "ema", "raw" or "unknown", with the rate of the average where it is known ("ema 0.9999");
    "step" of the training; "network", the name of ours, and its "options"; "diffusion", the keys
    of that section of a config; "alike", other processes whose files look the same; "var_type";
    "no_class", whether the last row of the labels means "no class"; "untold", options of the
    network that decide its answer and that no file of this layout tells; "asks", flags with which
    its own program samples; "file": the one read.

    Raises FileNotFoundError, and ValueError for a file that is damaged, foreign or unsupported.
    """
    path = Path(path)
    nothing = dict.fromkeys(("step", "options", "diffusion", "var_type"))
    info = {**nothing, "no_class": False, "alike": (), "untold": (), "asks": ()}
    if path.is_dir():
        folder = path / "unet" if (path / "unet" / "config.json").is_file() else path
        info["options"] = diffusers.network_options(folder / "config.json")
        told = scheduler.find(path, folder)
        info |= scheduler.read(told) if told else {}
        path = diffusers.weights_file(folder)
    elif not path.is_file():
        raise FileNotFoundError(f"{path}: no such file or folder")
    content = _contents(path)
    try:
        state, more = _told(content, path, side)
    except ValueError as err:
        raise ValueError(f"{path}: {err}") from err
    state = {name: _widened(tensor) for name, tensor in state.items()}
    return state, {**info, **more, "file": str(path)}


def _told(content: Any, path: Path, side: int | None) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Find the weights among the contents of a file, and what they and the file tell."""
    if edm.holds(content):
        return edm.network_of(content, path)
    state, kind, step, layout = _choose(content)
    state = unwrapped(state)
    layout = layout or _layout(state)
    info: dict[str, Any] = {"layout": layout, "weights": kind, "step": step}
    if layout == "score_sde":
        state, told = score_sde.translate(state, side)
        return state, {**info, "network": "ncsnpp", **told}
    if layout == "torchcfm":
        return adm.turned(state), {**info, **adm.told(state), "diffusion": adm.FLOW}
    if layout == "adm":
        named = dict(zip(("weights", "step"), adm.from_name(path), strict=True))
        return state, {**info, **named, **adm.told(state)}
    if layout == "dit":
        told = {"network": "dit", "options": dit.network_options(state), "no_class": True}
        return state, {**info, **told}
    if layout == "ddim":
        return state, {**info, "network": "ddpm", "options": ddim.network_options(state, side)}
    return state, {**info, "network": "ncsnpp" if layout == "ncsnpp" else "ddpm"}


def _layout(state: Mapping[str, Tensor]) -> str:
    """Find the layout of a plain state dict. Raises ValueError for an unknown one."""
    if any(key.startswith(score_sde.NAME) for key in state):
        return "score_sde"
    found = next((layout for layout, marks in _MARKS.items() if state.keys() >= {*marks}), "")
    if not found:
        known = "`docs/checkpoints.md` lists the layouts"
        raise ValueError(f"not weights of a network that is known here; {known}")
    return found


def _contents(path: Path) -> Any:
    with path.open("rb") as file:
        head = file.read(len(_TORCH))
    if path.suffix == ".pkl" and not head.startswith((_ZIP, _TORCH)):
        try:
            return unpickle(path.read_bytes())
        except ValueError as err:
            raise ValueError(f"{path}: {err}") from err
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        # DiT's trainer stores its flags beside the weights, in a class that holds them and no more
        with torch.serialization.safe_globals([argparse.Namespace]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except SafetensorError as err:
        raise ValueError(f"{path}: damaged, or not a safetensors file") from err
    except Exception as err:  # a damaged archive fails in every way there is
        raise ValueError(
            f"{path}: damaged, or not opened for safety because it holds more than weights "
            f"({type(err).__name__})"
        ) from err


def _widened(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


def _choose(content: Any) -> tuple[dict[str, Tensor], str, int | None, str]:
    """Choose the weights among the contents of a file: (state dict, kind, step of the training,
    layout where the kind of the file tells it).
    """
    if isinstance(content, list) and len(content) >= 4:
        # the DDIM repository saves [model, optimizer, epoch, step] and, if it averages, the average
        kind, step = "ema" if len(content) >= 5 else "raw", _step(content[3])
        return _state(content[-1] if kind == "ema" else content[0]), kind, step, ""
    if isinstance(content, dict) and isinstance(content.get("model"), dict):
        if any(score_sde.NAME in str(key) for key in content["model"]):
            raw = unwrapped(_state(content["model"]))
            state, kind = score_sde.averaged(raw, content.get("ema"))
            return state, kind, _step(content.get("step")), "score_sde"
        average = content.get("ema")  # DiT's trainer: model, ema, opt, args
        kind = "ema" if isinstance(average, dict) else "raw"
        return _state(average if kind == "ema" else content["model"]), kind, None, ""
    if isinstance(content, dict) and isinstance(content.get("net_model"), dict):
        average = content.get("ema_model")
        kind = "ema" if isinstance(average, dict) else "raw"
        state = _state(average if kind == "ema" else content["net_model"])
        return state, kind, _step(content.get("step")), "torchcfm"
    return _state(content), "unknown", None, ""


def _state(content: Any) -> dict[str, Tensor]:
    pairs = content.items() if isinstance(content, Mapping) else ()
    if pairs and all(isinstance(key, str) and isinstance(value, Tensor) for key, value in pairs):
        return dict(pairs)
    raise ValueError("neither a state dict nor a checkpoint of a program that is known here")


def _step(value: Any) -> int | None:
    return value if type(value) is int else None
