"""Networks, feature extractors and optimizers by name; averages, checkpoints, foreign weights."""

from typing import Any

import torch
from torch import nn

from models.features import EXTRACTORS
from models.networks import NETWORKS, NCSNpp, UNet
from models.optimizers import OPTIMIZERS


def build(name: str, **options: Any) -> nn.Module:
    """Make the network called `name`. options: keywords of its constructor.

    Its `forward(x, t, label=None)` takes x (B, C, H, W) and t (B,) or (1,). Raises ValueError for
    an unknown name and for options that are out of range or contradict each other, TypeError for an
    option that the constructor does not have.
    """
    part, _ = NETWORKS.find(name)
    # CPU convolutions compute in channels_last; other weights would be repacked at each call
    return part.build(**options).to(memory_format=torch.channels_last)
