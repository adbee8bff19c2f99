"""Network adm as diffusers' UNet2DModel: its config.json, and its weights under those names."""

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

_INSIDE = {  # of a residual block of guided-diffusion -> ResnetBlock2D; of its attention
    "in_layers.0": "norm1",
    "in_layers.2": "conv1",
    "emb_layers.1": "time_emb_proj",
    "out_layers.0": "norm2",
    "out_layers.3": "conv2",
    "skip_connection": "conv_shortcut",
    "norm": "group_norm",
    "proj_out": "to_out.0",
}
_ENDS = {
    "time_embed.0": "time_embedding.linear_1",
    "time_embed.2": "time_embedding.linear_2",
    "input_blocks.0.0": "conv_in",
    "out.0": "conv_norm_out",
    "out.2": "conv_out",
}


def unet_config(options: Mapping[str, Any]) -> dict[str, Any]:
    """Translate the options of network adm to diffusers' config.json.

    Raises ValueError for options that UNet2DModel lacks.
    """
    inside = options["resblock_updown"]
    if not (inside or options["conv_resample"]):
        raise ValueError("conv_resample: false is not in diffusers' UNet2DModel")
    attend = _attends(options)
    plain = "ResnetDownsampleBlock2D" if inside else "DownBlock2D"
    down = ["AttnDownBlock2D" if here else plain for here in attend]
    up = [kind.replace("Downsample", "Upsample").replace("DownB", "UpB") for kind in down]
    resample = "resnet" if inside else "conv"
    return {
        "_class_name": "UNet2DModel",
        "sample_size": options["image_size"],
        "in_channels": options["in_channels"],
        "out_channels": options["out_channels"],
        "block_out_channels": _widths(options),
        "layers_per_block": options["num_res_blocks"],
        "down_block_types": down,
        "up_block_types": up[::-1],
        "dropout": options["dropout"],
        "attention_head_dim": _head(options),
        "resnet_time_scale_shift": "scale_shift" if options["use_scale_shift_norm"] else "default",
        "downsample_type": resample,
        "upsample_type": resample,
        "downsample_padding": 1,
        "norm_eps": 1e-5,
        "norm_num_groups": 32,
        "attn_norm_num_groups": 32,
        "flip_sin_to_cos": True,
        "freq_shift": 0,
    }


def unet_weights(options: Mapping[str, Any], weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the weights of network adm to UNet2DModel's, which has a layer each for queries, keys
    and values.
    """
    modules = {**_ENDS, **dict(_stages(options))}
    head, by_head = _head(options), not options["use_new_attention_order"]
    found: dict[str, Tensor] = {}
    for key, tensor in weights.items():
        module, _, kind = key.rpartition(".")
        outer = next(name for name in _prefixes(module) if name in modules)
        there, inner = modules[outer], module[len(outer) + 1 :]
        if inner == "qkv":
            for name, rows in zip("qkv", _rows(tensor, head, by_head), strict=True):
                found[f"{there}.to_{name}.{kind}"] = rows
            continue
        if inner == "proj_out" and kind == "weight":
            tensor = tensor.flatten(1)
        name = _INSIDE.get(inner, inner)
        found[".".join(filter(None, (there, name, kind)))] = tensor
    return found


def _prefixes(module: str) -> Iterator[str]:
    """The name of a module, and of all that hold it, from the inside out."""
    while module:
        yield module
        module = module.rpartition(".")[0]


def _stages(options: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(our name, diffusers' name) of every residual block, attention and change of size."""
    attend, blocks = _attends(options), options["num_res_blocks"]
    last, inside, i = len(attend) - 1, options["resblock_updown"], 1
    for level, here in enumerate(attend):
        for j in range(blocks):
            yield f"input_blocks.{i}.0", f"down_blocks.{level}.resnets.{j}"
            if here:
                yield f"input_blocks.{i}.1", f"down_blocks.{level}.attentions.{j}"
            i += 1
        if level < last:
            ours, theirs = ("", "") if inside else (".op", ".conv")
            yield f"input_blocks.{i}.0{ours}", f"down_blocks.{level}.downsamplers.0{theirs}"
            i += 1
    for j, kind in enumerate(("resnets.0", "attentions.0", "resnets.1")):
        yield f"middle_block.{j}", f"mid_block.{kind}"
    for k, here in enumerate(reversed(attend)):
        for j in range(blocks + 1):
            stage = f"output_blocks.{k * (blocks + 1) + j}"
            yield f"{stage}.0", f"up_blocks.{k}.resnets.{j}"
            if here:
                yield f"{stage}.1", f"up_blocks.{k}.attentions.{j}"
            if j == blocks and k < last:
                yield f"{stage}.{1 + here}", f"up_blocks.{k}.upsamplers.0"


def _rows(qkv: Tensor, head: int, by_head: bool) -> tuple[Tensor, ...]:
    """Split the rows of a qkv layer, weight (3C, C, 1) or bias (3C,), into those of q, k and v."""
    rows = qkv.flatten(1) if qkv.ndim > 1 else qkv
    if not by_head:
        return tuple(part.contiguous() for part in rows.chunk(3))
    each = rows.unflatten(0, (-1, 3, head))
    return tuple(each[:, i].flatten(0, 1).contiguous() for i in range(3))


def _widths(options: Mapping[str, Any]) -> list[int]:
    return [int(options["model_channels"] * mult) for mult in options["channel_mult"]]


def _attends(options: Mapping[str, Any]) -> list[bool]:
    return [2**i in options["attention_resolutions"] for i in range(len(options["channel_mult"]))]


def _head(options: Mapping[str, Any]) -> int:
    """Width of a head of attention, which UNet2DModel says once for the whole network."""
    if options["num_head_channels"] != -1:
        return options["num_head_channels"]
    widths, attends = _widths(options), _attends(options)
    up = options["num_heads_upsample"]
    there = [width for width, here in zip(widths, attends, strict=True) if here]
    heads = {width // options["num_heads"] for width in [*there, widths[-1]]}
    if up != -1:
        heads |= {width // up for width in there}
    if len(heads) > 1:
        raise ValueError(
            f"num_heads: {options['num_heads']} gives heads of {sorted(heads)} channels, and "
            "diffusers' UNet2DModel has one width; num_head_channels says it"
        )
    return heads.pop()
