"""Draw images, write them, hand them on to whatever measures them."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from torch import Tensor
from tqdm import tqdm

from configs.schema import Config
from runners.machine.processes import Ranks
from runners.machine.signals import STOPPED, StopRequest
from runners.record import image_folder
from runners.sampling.blocks import blocks, drawn, share
from runners.sampling.drawer import Drawer

log = logging.getLogger("skip_step")


def sample_all(
    drawer: Drawer,
    config: Config,
    folder: Path | None,
    ranks: Ranks,
    stop: StopRequest,
    use: Callable[[Sequence[int], Tensor], None] | None,
) -> float:
    """Draw this process' share of images 0..n_samples-1, write them to `folder` (None: nowhere)
    and hand every batch, uint8 (n, C, H, W), to `use`. Images that the folder has are read instead.

    Returns the images that this process drew per second, 0 where the folder had all. Exits with
    STOPPED on request. Raises RuntimeError for images that are not finite.
    """
    mine = share(config, drawer, ranks)
    held = image_folder.existing(folder, config.sampling.n_samples) if folder else set()
    ranks.barrier()  # no process writes before every one has looked
    todo = [i for i in mine if i not in held]
    writer = image_folder.Writer(folder) if folder else None
    bar = tqdm(
        total=len(mine), unit="img", disable=not (ranks.first and sys.stderr.isatty()), leave=False
    )
    began = time.perf_counter()
    try:
        for part, images in drawn(drawer, config, todo):
            if writer:
                writer.add(part, images)
            if use:
                use(part, images)
            bar.update(len(part))
            _leave_on(stop, writer)
        if writer:
            writer.flush()
        rate = len(todo) / max(time.perf_counter() - began, 1e-9)
        for part in blocks([i for i in mine if i in held and use], config.sampling.batch_size):
            assert folder is not None and use is not None
            use(part, image_folder.read_back(folder, part, drawer.shape))
            bar.update(len(part))
            _leave_on(stop, writer)
    finally:
        bar.close()
        if writer:
            writer.close()
    return rate


def _leave_on(stop: StopRequest, writer: image_folder.Writer | None) -> None:
    if not stop:
        return
    if writer:
        writer.flush()
    kept = "the same command goes on from here" if writer else "nothing is kept with --no_images"
    log.warning("%s: stopped; %s", stop.name, kept)
    raise SystemExit(STOPPED)
