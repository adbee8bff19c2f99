"""Numbers and their layout in memory: mixed precision, memory format."""

from __future__ import annotations

import contextlib

import torch
from torch import nn

from configs.schema import Config

PRECISIONS = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


def autocast(precision: str, device: torch.device) -> contextlib.AbstractContextManager:
    """The mixed-precision context of fp32 (none), bf16 or fp16."""
    dtype = PRECISIONS[precision]
    return torch.autocast(device.type, dtype, enabled=dtype is not None)


def laid_out(network: nn.Module, config: Config, device: torch.device) -> nn.Module:
    """The network on its device, weights in the config's memory format; on a CPU as `build` made
    them, because the convolutions there want channels last in any case.
    """
    network = network.to(device)
    if device.type == "cpu":
        return network
    return network.to(memory_format=memory_format(config))


def memory_format(config: Config) -> torch.memory_format:
    """How images lie in memory."""
    return torch.channels_last if config.training.channels_last else torch.contiguous_format
