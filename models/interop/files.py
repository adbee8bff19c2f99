"""Files of weights of other programs."""

import os
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from configs.values import either
from models.interop.diffusers import network_options, weights_file
from models.interop.names import LAYOUTS, unwrapped


def read(path: str | os.PathLike) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read weights from a file or folder of another program, and what is known about them.

    path: a checkpoint of the DDIM repository's trainer (its average is taken), a plain state dict
    (.ckpt, .pth, .bin, .safetensors), or a diffusers folder (config.json beside the weights).

    The second value holds "layout"; "weights": "ema", "raw" or "unknown"; "options" of the network
    if a config.json gives them, else None; "file": the file that was read.

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
    state = unwrapped(state)
    layout = next((name for name, key in LAYOUTS.items() if key in state), None)
    if layout is None:
        raise ValueError(f"{path}: not weights of a DDPM network in the layout {either(LAYOUTS)}")
    return state, {"layout": layout, "weights": kind, "options": options, "file": str(path)}


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
