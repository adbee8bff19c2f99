"""Numbers and their layout in memory: TF32, mixed precision, memory format."""

from __future__ import annotations

import contextlib

import torch
from torch import nn

from configs.schema import Config

PRECISIONS = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


def set_up(tf32: bool) -> None:
    """Allow or forbid TF32 in matrix products and convolutions, and let cuDNN choose by trying."""
    torch.set_float32_matmul_precision("high" if tf32 else "highest")
    torch.backends.cudnn.allow_tf32 = tf32
    torch.backends.cudnn.benchmark = True


def autocast(precision: str, device: torch.device) -> contextlib.AbstractContextManager:
    """Mixed precision while a block runs. precision: fp32 (none), bf16 or fp16."""
    dtype = PRECISIONS[precision]
    return torch.autocast(device.type, dtype, enabled=dtype is not None)


def laid_out(network: nn.Module, config: Config, device: torch.device) -> nn.Module:
    """Move the network to its device, its weights into the config's memory format.

    On a CPU they stay as `build` made them: convolutions there want channels last in any case.
    """
    network = network.to(device)
    if device.type == "cpu":
        return network
    return network.to(memory_format=memory_format(config))


def memory_format(config: Config) -> torch.memory_format:
    """Memory format of images and weights."""
    return torch.channels_last if config.training.channels_last else torch.contiguous_format
