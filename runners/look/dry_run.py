"""--dry_run: the resolved config, size and cost of the network, memory, and counts of the data.

Nothing is written, and the network is made on the meta device, so any size fits any machine.
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
from datasets.pixels import BAD_FILE, fit
from datasets.readers import Split
from models import build

GIB = 2**30
LOOKED_AT = 100  # images that tell whether all may be grey
MANY = 10_000  # epochs that are hardly meant


def dry_run(config: Config, options: Options) -> Iterator[str]:
    """Describe config, network, memory and data, line by line."""
    yield dump(config)
    with torch.device("meta"):
        network = build(config.model.name, **config.model.options).train()
    yield f"parameters        {sum(p.numel() for p in network.parameters()):,}"
    forward, training = flops(network, config)
    yield f"cost per image    {forward / 1e9:.2f} GFLOP forward, {training / 1e9:.2f} in training"
    yield from _memory(network, config)
    yield from _data(config, options, network)


def _input(config: Config) -> tuple[torch.Tensor, ...]:
    """State, time and, for a network with classes, label."""
    data = config.data
    channels = data.channels * config.process().groups
    shape = (1, channels, data.image_size, data.image_size)
    label = [torch.zeros(1, dtype=torch.int64, device="meta")] if data.classes else []
    return torch.zeros(shape, device="meta"), torch.zeros(1, device="meta"), *label


def flops(network: nn.Module, config: Config) -> tuple[int, int]:
    """Count FLOPs (two per multiply-add) of one image: forward, and forward with backward.

    The network is on the meta device. Only matrix products, convolutions and attention are counted.
    """
    counter = FlopCounterMode(display=False)
    with counter:
        answer = network(*_input(config))
        forward = counter.get_total_flops()
        answer.sum().backward()
    return forward, counter.get_total_flops()


def activations(network: nn.Module, config: Config) -> int:
    """Count the bytes that autograd keeps for the backward pass of one float32 image."""
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
    """Add up memory: of the weights exactly, of the activations an estimate (`activations`)."""
    weights = sum(p.numel() * p.element_size() for p in network.parameters())
    moments = 2 + bool(config.optim.options.get("amsgrad"))  # that Adam and AdamW keep
    copies = 2 + moments + len(config.model.averages) + len(config.model.ema_powers or ())
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


def _data(config: Config, options: Options, network: nn.Module) -> Iterator[str]:
    """Count the images where they are here, else say what is missing; nothing is downloaded. Say
    what follows from their number.
    """
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
    if remark := _greys(train, config):
        yield f"                  note: {remark}"
    training = config.training
    key, steps = training.end(count)
    images = steps * training.images_per_update
    epochs = images / count
    yield f"training          {steps:,} steps, {images:,} images, {epochs:,.1f} epochs"
    if epochs > MANY:
        times = f"every image is seen {epochs:,.0f} times"
        yield f"                  note: {times}; --training.{key} sets the length"
    if data.augment:
        share = f"{data.augment:.0%} of the images, and half of them are mirrored"
        yield f"augmentation      each transformation of {share}; the network is told"
    if powers := config.model.ema_powers:
        number = -(-steps // training.between_snapshots(steps))
        size = sum(p.numel() for p in network.parameters() if p.requires_grad) * 4 * len(powers)
        disk = f"{number * size / GIB:.2f} GiB on disk, none of which is deleted"
        yield f"EMA snapshots     {number} of {size / 2**20:.1f} MiB, {disk}"


def _greys(split: Split, config: Config) -> str:
    """A remark where a model of three channels has only grey images, or "".

    Looks at the first images only. One that cannot be read ends the search, and is named.
    """
    data, first = config.data, range(min(LOOKED_AT, len(split.reader)))
    if data.channels != 3:
        return ""
    for index in first:
        try:
            pixels = fit(split.reader.read(index), data.image_size, 3, split.box)
        except BAD_FILE as err:
            name = split.reader.name(index)
            return f"{name} cannot be read ({err}); --check_data names every such file"
        if (pixels != pixels[:1]).any():
            return ""
    return f"the first {len(first)} images are grey: --data.channels 1 trains on one channel"
