"""Files of weights of other programs."""

import os
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from configs.values import either
from models.interop import adm
from models.interop.diffusers import network_options, weights_file
from models.interop.names import LAYOUTS, unwrapped


def read(path: str | os.PathLike) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read weights from a file or folder of another program, and what is known about them.

    path: a checkpoint of the DDIM repository's trainer (its average is taken), a file of
    guided-diffusion's (model050000.pt, ema_0.9999_050000.pt), a plain state dict (.ckpt, .pth, .pt,
    .bin, .safetensors), or a diffusers folder (config.json beside the weights). Weights of 16 bits
    become float32.

    The second value holds "layout"; "weights": "ema", "raw" or "unknown", with the rate of the
    average where it is known ("ema 0.9999"); "step" of the training, or None; "options" of the
    network that a config.json or the shapes of the weights tell, or None; "file": the one read.

    Raises FileNotFoundError, and ValueError for a file that is damaged, foreign or unsupported.
    """
    path = Path(path)
    options = None
    if path.is_dir():
        folder = path / "unet" if (path / "unet" / "config.json").is_file() else path
        options = network_options(folder / "config.json")
        path = weights_file(folder)
    elif not path.is_file():
        raise FileNotFoundError(f"{path}: no such file or folder")
    state, kind = _choose(_contents(path), path)
    state = {name: _widened(tensor) for name, tensor in unwrapped(state).items()}
    layout = next((name for name, key in LAYOUTS.items() if key in state), None)
    if layout is None:
        raise ValueError(f"{path}: not weights of a network in the layout {either(LAYOUTS)}")
    info: dict[str, Any] = {"layout": layout, "weights": kind, "step": None, "options": options}
    if layout == "adm":
        info["weights"], info["step"] = adm.from_name(path)
        try:
            info["options"] = adm.network_options(state)
        except ValueError as err:
            raise ValueError(f"{path}: {err}") from err
    return state, {**info, "file": str(path)}


def _contents(path: Path) -> Any:
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
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


def _choose(content: Any, path: Path) -> tuple[dict[str, Tensor], str]:
    """Choose the weights among the contents of a file, and tell their kind."""
    kind = "unknown"
    if isinstance(content, list) and len(content) >= 4:
        # the DDIM repository saves [model, optimizer, epoch, step] and, if it averages, the average
        kind = "ema" if len(content) >= 5 else "raw"
        content = content[-1] if kind == "ema" else content[0]
    if (
        isinstance(content, dict)
        and content
        and all(isinstance(v, Tensor) for v in content.values())
    ):
        return content, kind
    raise ValueError(f"{path}: neither a state dict nor a checkpoint of the DDIM repository")
