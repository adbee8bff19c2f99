"""Networks by name, and what surrounds them: averages, checkpoints, foreign weights."""

from collections.abc import Callable

import torch
from torch import nn

from models.networks.ddpm import UNet
from models.networks.ncsnpp import NCSNpp

NETWORKS: dict[str, Callable[..., nn.Module]] = {"ddpm": UNet, "ncsnpp": NCSNpp}


def build(name: str, **options) -> nn.Module:
    """Make the network called `name`; `options` are the keywords of its constructor.

    The result answers `forward(x, t, label=None)`: x (B, C, H, W), t (B,) or (1,). Raises
    ValueError for an unknown name or options that contradict each other, TypeError for an option
    that the constructor does not have.
    """
    if name not in NETWORKS:
        raise ValueError(f"model.name: no network {name!r}; the choices are {sorted(NETWORKS)}")
    # channels last is what CPU convolutions compute in: other weights are repacked at every call
    return NETWORKS[name](**options).to(memory_format=torch.channels_last)


__all__ = ["NETWORKS", "NCSNpp", "UNet", "build"]
