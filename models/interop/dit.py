"""Files of DiT (2212.09748), whose names are those of our network: its options from the shapes."""

import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor

_HEADS = {384: 6, 768: 12, 1024: 16, 1152: 16}  # DiT-S, -B, -L and -XL: no shape tells them


def network_options(weights: Mapping[str, Tensor]) -> dict[str, Any]:
    """Tell the options of network dit that fix names and shapes of these weights; of num_heads, the
    published ones. Raises ValueError for weights of another network.
    """
    shapes = {key: tuple(tensor.shape) for key, tensor in weights.items()}
    try:
        hidden, channels, patch, _ = shapes["x_embedder.proj.weight"]
        tokens, rows = shapes["pos_embed"][1], shapes["y_embedder.embedding_table.weight"][0]
        answer, inner = shapes["final_layer.linear.weight"][0], shapes["blocks.0.mlp.fc1.weight"][0]
    except (KeyError, ValueError, IndexError) as err:
        raise ValueError(f"not the network of DiT ({err})") from err
    return {
        "image_size": math.isqrt(tokens) * patch,
        "in_channels": channels,
        "out_channels": answer // patch**2,
        "patch_size": patch,
        "hidden_size": hidden,
        "depth": 1 + max(int(key.split(".")[1]) for key in shapes if key.startswith("blocks.")),
        "mlp_ratio": inner / hidden,
        "num_classes": rows,
        **({"num_heads": _HEADS[hidden]} if hidden in _HEADS else {}),
    }
