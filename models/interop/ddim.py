"""Files of the DDIM repository, whose names are those of our network ddpm: options from shapes."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor


def network_options(weights: Mapping[str, Tensor], side: int | None) -> dict[str, Any]:
    """Tell the options of network ddpm that fix names and shapes of these weights.

    side: of the images, without which the levels with attention are not told. Raises ValueError for
    weights of another network.
    """
    shapes = {key: tuple(tensor.shape) for key, tensor in weights.items()}
    levels = 1 + max((int(k.split(".")[1]) for k in shapes if k.startswith("down.")), default=-1)
    try:
        ch = shapes["temb.dense.0.weight"][1]
        widths = [shapes[f"down.{i}.block.0.conv1.weight"][0] for i in range(levels)]
        found = {
            "in_channels": shapes["conv_in.weight"][1],
            "out_ch": shapes["conv_out.weight"][0],
            "ch": ch,
            "ch_mult": [width // ch for width in widths],
            "num_res_blocks": sum(f"down.0.block.{i}.conv1.weight" in shapes for i in range(99)),
        }
    except (KeyError, IndexError, ZeroDivisionError) as err:
        raise ValueError(f"not the network of the DDIM repository ({err})") from err
    if "temb.label.weight" in shapes:
        found["num_classes"] = shapes["temb.label.weight"][0]
    if levels > 1:
        found["resamp_with_conv"] = "down.0.downsample.conv.weight" in shapes
    if side is not None:
        attend = [i for i in range(levels) if f"down.{i}.attn.0.q.weight" in shapes]
        found["attn_resolutions"] = [side >> i for i in attend]
    return found
