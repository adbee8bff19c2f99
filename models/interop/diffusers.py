"""Names, files and options of diffusers' UNet2DModel."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# DDIM's name -> diffusers': the rules are tried in order, each at most once per name
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

# defaults of diffusers for keys that config.json leaves out, where they differ from our network
_DIFFUSERS_DEFAULTS = {
    "norm_eps": 1e-5,
    "flip_sin_to_cos": True,
    "freq_shift": 0,
    "downsample_padding": 1,
    "attention_head_dim": 8,
}
_OUR_FEATURES: dict[str, Any] = {  # our network in diffusers' words
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


def diffusers_name(key: str, levels: int) -> str:
    """Translate our name of a weight to diffusers'. levels: of the network."""
    for pattern, new in _RULES:
        key = re.sub(pattern, new, key)
    # diffusers numbers the levels on the way up in the order of execution
    return re.sub(r"^up_blocks\.(\d+)", lambda m: f"up_blocks.{levels - 1 - int(m[1])}", key)


def modern_name(key: str) -> str:
    """Translate a name of diffusers' files before 2023 to today's."""
    found = re.search(r"attentions\.\d+\.(query|key|value|proj_attn)\.", key)
    return key if not found else key.replace(f".{found[1]}.", f".{_OLD_ATTENTION[found[1]]}.")


def weights_file(folder: Path) -> Path:
    """Find the file of weights in a diffusers folder. Raises FileNotFoundError."""
    files = [f"diffusion_pytorch_model.{end}" for end in ("safetensors", "bin")]
    for file in files:
        if (folder / file).is_file():
            return folder / file
    raise FileNotFoundError(f"{folder}: a diffusers folder holds {' or '.join(files)}")


def network_options(config_file: Path) -> dict[str, Any]:
    """Read our network's options from config.json. Raises ValueError for a different network."""
    if not config_file.is_file():
        raise FileNotFoundError(f"{config_file}: a diffusers folder holds a config.json")
    try:
        config = json.loads(config_file.read_text(encoding="utf-8"))
        found, odd = _translated({**_OUR_FEATURES, **_DIFFUSERS_DEFAULTS, **config})
    except (ValueError, KeyError, TypeError, AttributeError) as err:
        raise ValueError(f"{config_file}: not the config of a UNet2DModel ({err!r})") from err
    if odd:
        raise ValueError(f"{config_file}: a network unlike the DDPM one: {'; '.join(odd)}")
    return found


def unet_config(options: Mapping[str, Any]) -> dict[str, Any]:
    """Translate the options of network ddpm to diffusers' config.json: inverts `network_options`.

    Raises ValueError for options that UNet2DModel lacks.
    """
    side, widths = options["image_size"], [options["ch"] * m for m in options["ch_mult"]]
    attends = [side >> i in options["attn_resolutions"] for i in range(len(widths))]
    down = ["AttnDownBlock2D" if attend else "DownBlock2D" for attend in attends]
    if not options["resamp_with_conv"]:
        raise ValueError("resamp_with_conv: false is not in diffusers' UNet2DModel")
    return {
        **_OUR_FEATURES,
        "_class_name": "UNet2DModel",
        "sample_size": side,
        "in_channels": options["in_channels"],
        "out_channels": options["out_ch"],
        "block_out_channels": widths,
        "layers_per_block": options["num_res_blocks"],
        "down_block_types": down,
        "up_block_types": [kind.replace("Down", "Up") for kind in reversed(down)],
        "dropout": options["dropout"],
    }


def _translated(config: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Translate diffusers' options to ours, and list in words those that our network lacks."""
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
    ours = {
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
    return ours, odd
