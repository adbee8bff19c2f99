"""Guided-diffusion's files: options of their network, as far as shapes tell; what names tell."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

_NAME = re.compile(r"(?:(model)|ema_(\d?\.\d+)_)(\d+)")  # model050000, ema_0.9999_050000
_UPSAMPLER = re.compile(r"output_blocks\.(\d+)\.[12]\.(in_layers\.0|conv)\.weight")
_UNTOLD = ("num_heads", "num_head_channels", "use_new_attention_order")  # which decide the answer
# torchcfm (2302.00482): data at its time 1
FLOW = {"process": "flow", "predicts": "velocity", "time": "1-t"}


def from_name(path: Path) -> tuple[str, int | None]:
    """Tell the kind of weights ("ema 0.9999", "ema", "raw" or "unknown") and the training step from
    the name of a file, as guided-diffusion's trainer gives it.
    """
    if found := _NAME.fullmatch(path.stem):
        return "raw" if found[1] else f"ema {float(found[2]):g}", int(found[3])
    return "ema" if path.stem.startswith("ema_") else "unknown", None


def told(weights: Mapping[str, Tensor]) -> dict[str, Any]:
    """Tell the network, its options, and those that no shape tells. Raises ValueError."""
    options = network_options(weights)
    attends = any(key.endswith(".qkv.weight") for key in weights)
    return {"network": "adm", "options": options, "untold": _UNTOLD if attends else ()}


def turned(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Turn the sign of the answer: torchcfm's velocity is data - noise, ours noise - data."""
    last = ("out.2.weight", "out.2.bias")
    return {key: -value if key in last else value for key, value in weights.items()}


def network_options(weights: Mapping[str, Tensor]) -> dict[str, Any]:
    """Tell the options of network adm that fix names and shapes of these weights.

    The others are image_size, dropout, use_checkpoint, the heads of attention and their order.
    Raises ValueError for weights of another network.
    """
    shapes = {key: tuple(tensor.shape) for key, tensor in weights.items()}
    try:
        return _told(shapes)
    except (KeyError, IndexError, ValueError) as err:
        raise ValueError(f"not the network of guided-diffusion ({err})") from err


def _told(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    blocks, resample = _resampling(shapes)
    levels, rest = divmod(_stages(shapes), blocks + 1)
    if rest:
        raise ValueError("levels of different depths")
    firsts = [f"input_blocks.{1 + i * (blocks + 1)}." for i in range(levels)]
    channels = shapes["time_embed.0.weight"][1]
    mult = [shapes[f"{first}0.out_layers.3.weight"][0] / channels for first in firsts]
    inner, embedded = (
        shapes[f"input_blocks.1.0.{name}.weight"][0] for name in ("out_layers.3", "emb_layers.1")
    )
    return {
        "in_channels": shapes["input_blocks.0.0.weight"][1],
        "model_channels": channels,
        "out_channels": shapes["out.2.weight"][0],
        "num_res_blocks": blocks,
        "attention_resolutions": [
            2**i for i, first in enumerate(firsts) if f"{first}1.qkv.weight" in shapes
        ],
        "channel_mult": [int(m) if m.is_integer() else m for m in mult],
        "num_classes": shapes["label_emb.weight"][0] if "label_emb.weight" in shapes else None,
        "use_scale_shift_norm": embedded == 2 * inner,
        **resample,
    }


def _resampling(shapes: Mapping[str, tuple[int, ...]]) -> tuple[int, dict[str, bool]]:
    """Find the residual blocks of a level, by the place of the first layer that resamples, and the
    options of that layer.
    """
    upsamplers = [found for found in map(_UPSAMPLER.fullmatch, shapes) if found]
    if upsamplers:
        first = min(upsamplers, key=lambda found: int(found[1]))
        if first[2] == "conv":
            return int(first[1]), {"conv_resample": True, "resblock_updown": False}
        return int(first[1]), {"resblock_updown": True}
    # average pooling has no weights: there is a gap between the stages of the way down
    count = _stages(shapes)
    gaps = [i for i in range(count) if not any(k.startswith(f"input_blocks.{i}.") for k in shapes)]
    if gaps:
        return gaps[0] - 1, {"conv_resample": False, "resblock_updown": False}
    return count - 1, {}  # one level


def _stages(shapes: Mapping[str, tuple[int, ...]]) -> int:
    """Count the stages of the way up; on the way down there are as many."""
    return 1 + max(int(key.split(".")[1]) for key in shapes if key.startswith("output_blocks."))
