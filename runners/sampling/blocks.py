"""Images drawn block by block."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from configs.schema import Config
from datasets.transforms import to_uint8
from runners.machine.processes import Ranks
from runners.sampling.drawer import Drawer


def blocks(indices: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    """Split indices into consecutive blocks of at most `size`."""
    for begin in range(0, len(indices), size):
        yield indices[begin : begin + size]


def share(config: Config, drawer: Drawer, ranks: Ranks) -> list[int]:
    """Indices among 0..n_samples-1 that this process draws: whole blocks of the drawer."""
    count = config.sampling.n_samples
    return [i for i in range(count) if i // drawer.block % ranks.world == ranks.rank]


def drawn(
    drawer: Drawer, config: Config, indices: Sequence[int]
) -> Iterator[tuple[Sequence[int], Tensor]]:
    """Draw images of these indices batch by batch: (indices, uint8 (n, C, H, W)).

    Raises RuntimeError for images that are not finite.
    """
    size = max(config.sampling.batch_size // drawer.block, 1) * drawer.block
    for part in blocks(indices, size):
        yield part, to_uint8(finite(drawer(part), part), config.data)


def whole_blocks(
    drawer: Drawer, config: Config, count: int
) -> Iterator[tuple[Sequence[int], Sequence[int]]]:
    """Split indices 0..count-1 into parts: (part, indices to draw together with it).

    On a CPU these are whole blocks, beyond `count` where needed, as of plain samples: an image is
    then the same to the last bit.
    """
    on_cpu = drawer.device.type == "cpu"
    size = drawer.block if on_cpu else config.sampling.batch_size
    for part in blocks(range(count), size):
        yield part, range(part[0], part[0] + size) if on_cpu else part


def in_blocks(
    drawer: Drawer, config: Config, count: int, draw: Callable[[Sequence[int]], Tensor]
) -> Tensor:
    """Draw the images 0..count-1, uint8 (count, C, H, W), by `whole_blocks`.

    draw(indices): data (n, C, H, W). Raises RuntimeError for images that are not finite.
    """
    parts = []
    for part, together in whole_blocks(drawer, config, count):
        with torch.no_grad():
            images = draw(together)[: len(part)]
        parts.append(to_uint8(finite(images, part), config.data).cpu())
    return torch.cat(parts)


def finite(images: Tensor, indices: Sequence[int]) -> Tensor:
    """Return the images (n, ...). Raises RuntimeError that names the index of the first one that is
    not finite.
    """
    fine = images.isfinite().flatten(1).all(1).tolist()
    if not all(fine):
        raise RuntimeError(
            f"image {indices[fine.index(False)]} is not finite: the weights are damaged, or "
            "sampling.precision is too coarse for them (fp32 is safe)"
        )
    return images
