"""Several processes as one program: ranks from torchrun's variables, and a few collectives."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from configs.schema import ConfigError

T = TypeVar("T")


@dataclass(frozen=True)
class Ranks:
    """The place of this process among `world` processes, and the device it computes on."""

    rank: int
    world: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this process writes the files and the messages."""
        return self.rank == 0

    @property
    def device_name(self) -> str:
        """Name of the device ("cpu" on a CPU)."""
        return torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else "cpu"

    def sum(self, values: Tensor) -> Tensor:
        """Sum up over all processes, elementwise; the tensor itself where there is only one."""
        if self.world > 1:
            values = values.to(self.device, copy=True)
            dist.all_reduce(values)
        return values

    def any(self, *flags: bool) -> list[bool]:
        """Tell for each flag whether any process raised it. The answer is the same everywhere."""
        if self.world == 1:
            return list(flags)
        votes = torch.tensor([float(flag) for flag in flags], device=self.device)
        dist.all_reduce(votes, dist.ReduceOp.MAX)
        return [vote > 0 for vote in votes.tolist()]

    def gather(self, rows: Tensor) -> Tensor:
        """Collect the rows (n_r, ...) of all ranks in order, on every CPU; n_r may differ."""
        if self.world == 1:
            return rows.cpu()
        counts = [torch.zeros(1, dtype=torch.long, device=self.device) for _ in range(self.world)]
        dist.all_gather(counts, torch.tensor([len(rows)], device=self.device))
        most = max(int(count) for count in counts)
        padded = torch.zeros(most, *rows.shape[1:], dtype=rows.dtype, device=self.device)
        padded[: len(rows)] = rows
        parts = [torch.empty_like(padded) for _ in counts]
        dist.all_gather(parts, padded)
        return torch.cat([p[: int(n)].cpu() for p, n in zip(parts, counts, strict=True)])

    def on_first(self, work: Callable[[], T]) -> T:
        """Run `work` on the first process and hand its result, which must be picklable, to all.

        Where it raises, the first process raises the exception and reports it; the others leave in
        silence with the same exit code.
        """
        if self.world == 1:
            return work()
        outcome: list = [None, None]
        try:
            if self.first:
                outcome[0] = work()
        except BaseException as err:
            outcome[1] = 2 if isinstance(err, ConfigError) else 1
            raise
        finally:
            dist.broadcast_object_list(outcome, device=self.device)
        if outcome[1] is not None:
            raise SystemExit(outcome[1])
        return outcome[0]

    def barrier(self) -> None:
        """Wait until every process is here."""
        if self.world > 1:
            dist.barrier()


def start(device: str) -> Ranks:
    """Join the process group that torchrun's variables describe (RANK, WORLD_SIZE, LOCAL_RANK), or
    stand alone. device: auto, cpu, cuda or cuda:i. Raises ConfigError for a missing device.
    """
    rank, world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    place = _device(device, int(os.environ.get("LOCAL_RANK", 0)), world)
    if place.type == "cuda":
        torch.cuda.set_device(place)
    if world > 1 and not dist.is_initialized():
        backend = "cpu:gloo,cuda:nccl" if place.type == "cuda" else "gloo"
        dist.init_process_group(backend, timeout=timedelta(minutes=30))
    return Ranks(rank, world, place)


def say(lines: Iterable[str]) -> None:
    """Print lines on the first process. Works before `start` too."""
    for line in lines:
        if os.environ.get("RANK", "0") == "0":
            print(line)


def stop() -> None:
    """Leave the process group, if any."""
    if dist.is_initialized():
        dist.destroy_process_group()


def _device(name: str, local_rank: int, world: int) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    kind, _, index = name.partition(":")
    if kind not in ("cpu", "cuda") or (index and not index.isdigit()) or (kind == "cpu" and index):
        raise ConfigError(f"--device {name}: not a device; use auto, cpu, cuda or cuda:0")
    if kind == "cpu":
        return torch.device("cpu")
    if index and world > 1:
        raise ConfigError(f"--device {name}: with several processes use cuda, each takes its own")
    number, count = int(index or local_rank), torch.cuda.device_count()
    if number >= count:
        raise ConfigError(
            f"--device {name}: this machine has {count} CUDA devices; use cpu or auto"
        )
    return torch.device("cuda", number)
