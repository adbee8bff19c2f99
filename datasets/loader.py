"""Batches of images in an order that is a pure function of (seed, epoch, position).

Position p of the endless stream lies in epoch p // n, whose order is a permutation drawn from
SeedSequence([seed, epoch]). Step s takes the positions [s B, (s + 1) B), and each rank a contiguous
slice of them. So a run may stop at any step, and go on with any number of processes and workers.
"""

import os
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from datasets.base import ImageDataset

Batch = tuple[Tensor, Tensor | None]


@lru_cache(maxsize=4)
def permutation(n: int, seed: int, epoch: int) -> np.ndarray:
    """Draw the order of n images in one epoch: read-only int64 (n,)."""
    order = np.random.default_rng(np.random.SeedSequence([seed, epoch])).permutation(n)
    order.setflags(write=False)
    return order


def indices(n: int, seed: int, start: int, count: int) -> np.ndarray:
    """Compute the image indices at positions start to start + count - 1: int64 (count,).

    Every epoch of n positions holds each of the n images once. Raises ValueError where n is not
    positive, or the seed or a position is negative.
    """
    if n < 1 or min(seed, start, count) < 0:
        raise ValueError(f"no image order for n={n}, seed={seed}, start={start}, count={count}")
    parts = []
    while count > 0:
        epoch, offset = divmod(start, n)
        part = permutation(n, seed, epoch)[offset : offset + count]
        parts.append(part)
        start, count = start + len(part), count - len(part)
    return np.concatenate(parts) if parts else np.empty(0, dtype=np.int64)


def batches(
    dataset: ImageDataset,
    batch_size: int,
    seed: int,
    start_step: int = 0,
    rank: int = 0,
    world: int = 1,
    num_workers: int = 0,
    context: str | None = None,
) -> Iterator[Batch]:
    """Iterate without end over (uint8 (b, C, H, W), int64 labels (b,) or None).

    batch_size: of all processes; b = batch_size / world.
    num_workers: with 0, images in memory are indexed directly; otherwise a DataLoader fetches.
    context: how workers are started, "fork", "spawn", ...; None for the platform's default.
    Batches lie in pinned memory where there is CUDA. The global generators are not used.

    Raises ValueError where world does not divide batch_size, OSError that names an unreadable
    image, and RuntimeError where a worker dies.
    """
    if batch_size < 1 or world < 1 or batch_size % world:
        raise ValueError(f"a batch of {batch_size} images does not divide over {world} processes")
    if not 0 <= rank < world:
        raise ValueError(f"rank {rank} is not in 0..{world - 1}")
    stream = _Order(len(dataset), batch_size, seed, start_step, rank, world)
    if dataset.in_memory and num_workers == 0:
        return _direct(dataset, stream)
    return _loaded(dataset, stream, num_workers, context)


@dataclass(frozen=True)
class _Order:
    """Indices of one rank's images, step after step, without end."""

    n: int
    batch_size: int
    seed: int
    start_step: int
    rank: int
    world: int

    def __iter__(self) -> Iterator[np.ndarray]:
        share = self.batch_size // self.world
        position = self.start_step * self.batch_size + self.rank * share
        while True:
            yield indices(self.n, self.seed, position, share)
            position += self.batch_size


@dataclass(frozen=True)
class _Failure:
    """Error of a worker, sent as a value: PyTorch would wrap it in the text of a traceback."""

    message: str


class _Batches(Dataset[Batch | _Failure]):
    """Data set whose items are batches; its index is an array of image indices."""

    def __init__(self, dataset: ImageDataset):
        self.dataset = dataset

    def __getitem__(self, picked: np.ndarray) -> Batch | _Failure:
        try:
            return _fetch(self.dataset, picked)
        except OSError as err:
            return _Failure(str(err))


def _fetch(dataset: ImageDataset, picked: np.ndarray) -> Batch:
    labels = dataset.labels
    return dataset.images(picked), None if labels is None else labels[torch.from_numpy(picked)]


def _direct(dataset: ImageDataset, stream: _Order) -> Iterator[Batch]:
    pin = torch.cuda.is_available()
    for picked in stream:
        images, labels = _fetch(dataset, picked)
        yield images.pin_memory() if pin else images, labels


def _loaded(
    dataset: ImageDataset, stream: _Order, num_workers: int, context: str | None
) -> Iterator[Batch]:
    loader: DataLoader[Batch | _Failure] = DataLoader(
        _Batches(dataset),
        batch_size=None,  # the sampler's items are whole batches
        sampler=stream,
        num_workers=num_workers,
        collate_fn=_as_is,
        worker_init_fn=_obey_only_the_parent,
        multiprocessing_context=context if num_workers else None,
        pin_memory=torch.cuda.is_available(),
        generator=torch.Generator(),  # else the base seed is drawn from the global one
    )
    fetched = iter(loader)
    try:
        while True:
            batch = _next(fetched)
            if isinstance(batch, _Failure):
                raise OSError(batch.message)
            yield batch[0], batch[1]  # pinning turns tuples into lists
    finally:
        del fetched  # ends the workers, also where a traceback keeps this frame alive


def _next(fetched: Iterator[Batch | _Failure]) -> Batch | _Failure:
    try:
        return next(fetched)
    except (EOFError, OSError) as err:  # a worker died with its batch half handed over
        # PyTorch's own error comes with SIGCHLD: wait for it here, not while this one is reported
        time.sleep(1)
        reason = next(iter(str(err).splitlines()), type(err).__name__)
        raise RuntimeError(f"DataLoader worker lost, killed or out of memory? ({reason})") from err


def _as_is(batch: Any) -> Any:
    return batch


def _obey_only_the_parent(worker: int) -> None:
    """Ignore the signals that a scheduler sends to every process of a job, but not the parent's.

    A worker that dies of a scheduler's SIGTERM would raise in the trainer before it could save. A
    blocked signal runs no handler, neither PyTorch's nor one inherited by fork. Where the system
    cannot wait for a signal (Windows, macOS), PyTorch's handling stays.
    """
    if hasattr(signal, "SIGUSR1"):
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    if hasattr(signal, "sigwaitinfo"):
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        threading.Thread(target=_end_on_parents_signal, daemon=True).start()


def _end_on_parents_signal() -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != os.getppid():
        pass
    os._exit(0)
