"""Looking first: what a command would run (--dry_run), what a data set holds (--check_data).

Nothing is written, and the network is made without memory, so this works for any size anywhere.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import torch
from torch import nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode

from configs.command.options import Options
from configs.schema import Config, dump
from datasets import find_splits
from models import build

GIB = 2**30


def describe(config: Config, options: Options) -> None:
    """Print the resolved config, the network's size and cost, memory and data counts."""
    for line in lines(config, options):
        if os.environ.get("RANK", "0") == "0":
            print(line)


def lines(config: Config, options: Options) -> Iterator[str]:
    """The description line by line."""
    yield dump(config)
    with torch.device("meta"):
        network = build(config.model.name, **config.model.options).train()
    yield f"parameters        {sum(p.numel() for p in network.parameters()):,}"
    forward, training = flops(network, config)
    yield f"cost per image    {forward / 1e9:.2f} GFLOP forward, {training / 1e9:.2f} in training"
    yield from _memory(network, config)
    yield from _data(config, options)


def _input(config: Config) -> tuple[torch.Tensor, torch.Tensor]:
    data = config.data
    channels = data.channels * config.process().groups
    shape = (1, channels, data.image_size, data.image_size)
    return torch.zeros(shape, device="meta"), torch.zeros(1, device="meta")


def flops(network: nn.Module, config: Config) -> tuple[int, int]:
    """FLOPs (two per multiply-add) of one image: forward, and forward with backward.

    The network is on the meta device. Only matrix products, convolutions and attention are counted.
    """
    x, t = _input(config)
    counter = FlopCounterMode(display=False)
    with counter:
        answer = network(x, t)
        forward = counter.get_total_flops()
        answer.sum().backward()
    return forward, counter.get_total_flops()


def activations(network: nn.Module, config: Config) -> int:
    """Bytes that the backward pass of one float32 image keeps: autograd's saved tensors."""
    weights = {p.untyped_storage()._cdata for p in network.parameters()}
    kept: dict[int, tuple[torch.Tensor, int]] = {}  # a held tensor keeps its address for itself

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in weights:  # views of weights included
            kept[storage._cdata] = tensor, storage.nbytes()
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor):
        network(*_input(config))
    return sum(size for _, size in kept.values())


def _memory(network: nn.Module, config: Config) -> Iterator[str]:
    """Weights are exact; activations are what autograd would keep, which is an estimate."""
    weights = sum(p.numel() * p.element_size() for p in network.parameters())
    moments = 2 + config.optim.amsgrad  # that Adam and AdamW keep
    copies = 2 + moments + len(config.model.ema_rates)
    training = config.training
    share = max(1, training.batch_size // int(os.environ.get("WORLD_SIZE", "1")))
    batch = min(training.micro_batch or share, share)
    scale = 1.0 if training.precision == "fp32" else 0.5
    held = activations(network, config) * batch * scale
    fixed = f"{weights * copies / GIB:.2f} GiB weights, gradients, {config.optim.optimizer} and EMA"
    yield f"training memory   {(weights * copies + held) / GIB:.2f} GiB = {fixed}"
    half = "" if scale == 1 else f", halved for {training.precision}"
    yield (
        f"                  + about {held / GIB:.2f} GiB activations of {batch} images on a device"
        f" (autograd's saved tensors{half}; workspaces come on top)"
    )
    yield f"sampling memory   {weights / GIB:.2f} GiB weights + activations of a few layers"


def _data(config: Config, options: Options) -> Iterator[str]:
    """Counts where the data are there, else what is missing: a dry run needs and fetches none."""
    here = config.model_copy(update={"data": config.data.model_copy(update={"download": False})})
    try:
        train, test = find_splits(here, options.datasets)
    except (OSError, ValueError, RuntimeError, ImportError) as err:
        yield f"data              not available here: {' '.join(str(err).split())}"
        return
    count, data = len(train.reader), config.data
    held = f"{len(test.reader):,} held out" if test is not None else "none held out"
    shape = f"{data.channels}x{data.image_size}x{data.image_size}"
    yield f"data              {count:,} images as {shape}, {held}"
    epochs = config.training.n_iters * config.training.batch_size / count
    epochs = min(epochs, config.training.n_epochs or epochs)
    steps = round(epochs * count / config.training.batch_size)
    yield f"training          about {steps:,} steps, {epochs:,.1f} epochs"
