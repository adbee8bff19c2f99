"""Weights of other programs, in and out: the DDIM repo, converted DDPM models, diffusers.

Only names change (and 1x1 convolutions become dense layers): no number does.
"""

import json
import os
import re
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

LAYOUTS = ("ddim", "diffusers")

# One row per rule, DDIM's name to diffusers': tried in order, each at most once per key.
_RULES = [
    (r"^temb\.dense\.0\.", "time_embedding.linear_1."),
    (r"^temb\.dense\.1\.", "time_embedding.linear_2."),
    (r"^norm_out\.", "conv_norm_out."),
    (r"^mid\.block_1\.", "mid_block.resnets.0."),
    (r"^mid\.attn_1\.", "mid_block.attentions.0."),
    (r"^mid\.block_2\.", "mid_block.resnets.1."),
    (r"^(down|up)\.(\d+)\.block\.", r"\1_blocks.\2.resnets."),
    (r"^(down|up)\.(\d+)\.attn\.", r"\1_blocks.\2.attentions."),
    (r"^(down|up)\.(\d+)\.\1sample\.", r"\1_blocks.\2.\1samplers.0."),
    (r"\.temb_proj\.", ".time_emb_proj."),
    (r"\.nin_shortcut\.", ".conv_shortcut."),
    (r"(\.attentions\.\d+)\.norm\.", r"\1.group_norm."),
    (r"(\.attentions\.\d+)\.([qkv])\.", r"\1.to_\2."),
    (r"(\.attentions\.\d+)\.proj_out\.", r"\1.to_out.0."),
]
_OLD_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
_PREFIXES = re.compile(r"^(module\.|_orig_mod\.)+")

# What diffusers assumes where config.json is silent, where that is not what our network does.
_DIFFUSERS_DEFAULTS = {
    "norm_eps": 1e-5,
    "flip_sin_to_cos": True,
    "freq_shift": 0,
    "downsample_padding": 1,
    "attention_head_dim": 8,
}
_OUR_FEATURES: dict[str, Any] = {
    "norm_eps": 1e-6,
    "flip_sin_to_cos": False,
    "freq_shift": 1,
    "downsample_padding": 0,
    "attention_head_dim": None,
    "act_fn": "silu",
    "norm_num_groups": 32,
    "attn_norm_num_groups": None,
    "center_input_sample": False,
    "mid_block_scale_factor": 1,
    "mid_block_type": "UNetMidBlock2D",
    "add_attention": True,
    "time_embedding_type": "positional",
    "time_embedding_dim": None,
    "resnet_time_scale_shift": "default",
    "class_embed_type": None,
    "num_class_embeds": None,
    "downsample_type": "conv",
    "upsample_type": "conv",
}


def load_foreign(network: nn.Module, state_dict: dict[str, Tensor], layout: str = "ddim") -> None:
    """Copy weights named in `layout` ("ddim" or "diffusers") into a network of this program.

    Prefixes left by wrappers ("module.", "_orig_mod.") are dropped. Every weight must be there,
    none may be left over: ValueError counts and names those that do not fit.
    """
    names = _names(network, layout)
    given = {_PREFIXES.sub("", key): value for key, value in state_dict.items()}
    if layout == "diffusers":
        given = {_modern(key): value for key, value in given.items()}
    own = network.state_dict()
    fitted = {ours: _reshaped(given[k], own[ours]) for ours, k in names.items() if k in given}
    faults = [
        ("missing", [k for k in names.values() if k not in given]),
        ("unknown", sorted(given.keys() - set(names.values()))),
        ("of another shape", [names[k] for k, v in fitted.items() if v.shape != own[k].shape]),
    ]
    text = [
        f"{len(f)} {what} ({', '.join(f[:3])}{', ...' * (len(f) > 3)})" for what, f in faults if f
    ]
    if text:
        raise ValueError(f"these weights do not fit the network: {'; '.join(text)}")
    network.load_state_dict(fitted)


def export(network: nn.Module, layout: str = "ddim") -> dict[str, Tensor]:
    """Copies of the network's weights under the names and shapes of `layout`."""
    names, weights = _names(network, layout), {}
    for ours, tensor in network.state_dict().items():
        dense = layout == "diffusers" and ".attentions." in names[ours] and tensor.ndim == 4
        copy = tensor.detach().clone(memory_format=torch.contiguous_format)
        weights[names[ours]] = copy.flatten(1) if dense else copy
    return weights


def read(path: str | os.PathLike) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Weights from a file or folder of another program, and what is known about them.

    Recognised: the DDIM repo's training list (its average is taken), a plain state dict (.ckpt,
    .pth, .bin, .safetensors), and a diffusers folder (config.json beside the weights). The
    second value holds "layout"; "weights": "ema", "raw" or "unknown"; "options": those of the
    network if a config.json says them, else None; "file": what was read.
    Raises FileNotFoundError, or ValueError where the file is damaged, foreign or unsupported.
    """
    path = Path(path)
    options = None
    if path.is_dir():
        folder = path / "unet" if (path / "unet" / "config.json").is_file() else path
        options = _options(folder / "config.json")
        path = _weights_file(folder)
    elif not path.is_file():
        raise FileNotFoundError(f"{path}: no such file or folder")
    state, kind = _choose(_contents(path), path)
    state = {_PREFIXES.sub("", key): value for key, value in state.items()}
    layout = next((name for name, key in _MARKS.items() if key in state), None)
    if layout is None:
        raise ValueError(
            f"{path}: these are not weights of a DDPM network in a layout of {list(LAYOUTS)}"
        )
    return state, {"layout": layout, "weights": kind, "options": options, "file": str(path)}


_MARKS = {"ddim": "temb.dense.0.weight", "diffusers": "time_embedding.linear_1.weight"}


def _names(network: nn.Module, layout: str) -> dict[str, str]:
    """Our name -> the layout's name, for every entry of the network's state dict."""
    if layout not in LAYOUTS:
        raise ValueError(f"layout: {layout!r} is unknown; the choices are {list(LAYOUTS)}")
    keys = list(network.state_dict())
    if layout == "ddim":
        return {key: key for key in keys}
    if not getattr(network, "resamp_with_conv", True):
        raise ValueError("layout: diffusers has no network like this one, resamp_with_conv false")
    levels = len({key.split(".")[1] for key in keys if key.startswith("down.")})
    return {key: _diffusers_name(key, levels) for key in keys}


def _diffusers_name(key: str, levels: int) -> str:
    for pattern, new in _RULES:
        key = re.sub(pattern, new, key)
    # diffusers counts the way up in the order of execution
    return re.sub(r"^up_blocks\.(\d+)", lambda m: f"up_blocks.{levels - 1 - int(m[1])}", key)


def _modern(key: str) -> str:
    """diffusers' present name for a name of its files before 2023."""
    found = re.search(r"attentions\.\d+\.(query|key|value|proj_attn)\.", key)
    return key if not found else key.replace(f".{found[1]}.", f".{_OLD_ATTENTION[found[1]]}.")


def _reshaped(tensor: Tensor, like: Tensor) -> Tensor:
    """A dense layer's (C, C) as the 1x1 convolution that it is here."""
    if like.ndim == 4 and like.shape[2:] == (1, 1) and tensor.ndim == 2:
        return tensor[:, :, None, None]
    return tensor


def _contents(path: Path) -> Any:
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except SafetensorError as err:
        raise ValueError(f"{path}: damaged, or not a safetensors file") from err
    except Exception as err:  # a damaged archive fails in every way there is
        raise ValueError(
            f"{path}: damaged, or holds more than weights and is not opened for safety "
            f"({type(err).__name__})"
        ) from err


def _choose(content: Any, path: Path) -> tuple[dict[str, Tensor], str]:
    """The weights to use among the contents of a file, and which kind they are."""
    kind = "unknown"
    if isinstance(content, list) and len(content) >= 4:
        # The DDIM repo saves [model, optimiser, epoch, step] and, with averaging on, the average.
        kind = "ema" if len(content) >= 5 else "raw"
        content = content[-1] if kind == "ema" else content[0]
    if (
        isinstance(content, dict)
        and content
        and all(isinstance(v, Tensor) for v in content.values())
    ):
        return content, kind
    raise ValueError(f"{path}: neither a state dict nor the DDIM repo's list with one")


def _weights_file(folder: Path) -> Path:
    names = [f"diffusion_pytorch_model.{end}" for end in ("safetensors", "bin")]
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise FileNotFoundError(f"{folder}: a diffusers folder holds {' or '.join(names)}")


def _options(config_file: Path) -> dict[str, Any]:
    """Our network's options from diffusers' config.json; ValueError for what we do not have."""
    if not config_file.is_file():
        raise FileNotFoundError(f"{config_file}: a diffusers folder holds a config.json")
    try:
        config = json.loads(config_file.read_text(encoding="utf-8"))
        options, odd = _translated({**_OUR_FEATURES, **_DIFFUSERS_DEFAULTS, **config})
    except (ValueError, KeyError, TypeError, AttributeError) as err:
        raise ValueError(f"{config_file}: not the config of a UNet2DModel ({err!r})") from err
    if odd:
        raise ValueError(f"{config_file}: a network unlike the DDPM one: {'; '.join(odd)}")
    return options


def _translated(config: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Our options for diffusers', and what among those our network cannot do."""
    down, widths, side = (
        config[key] for key in ("down_block_types", "block_out_channels", "sample_size")
    )
    up = [kind.replace("Down", "Up") for kind in reversed(down)]
    wants = {**_OUR_FEATURES, "up_block_types": up}
    odd = [f"{k} is {config.get(k)!r}, not {v!r}" for k, v in wants.items() if config.get(k) != v]
    odd += [f"a {kind}" for kind in sorted(set(down) - {"DownBlock2D", "AttnDownBlock2D"})]
    odd += [f"width {w} is no multiple of {widths[0]}" for w in widths if w % widths[0]]
    if type(side) is not int:
        return {}, [*odd, f"sample_size is {side!r}, not one number"]
    options = {
        "image_size": side,
        "in_channels": config.get("in_channels", 3),
        "out_ch": config.get("out_channels", 3),
        "ch": widths[0],
        "ch_mult": [w // widths[0] for w in widths],
        "num_res_blocks": config["layers_per_block"],
        "attn_resolutions": [side >> i for i, k in enumerate(down) if k == "AttnDownBlock2D"],
        "dropout": float(config.get("dropout", 0.0)),
        "resamp_with_conv": True,
    }
    return options, odd
