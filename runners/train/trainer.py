"""The trainer: network, averages, optimizer, and a generator of steps. The caller logs and saves.

The randomness of a step is a function of (seed, rank, step), its images one of (seed, step): a run
that is resumed from a checkpoint is the uninterrupted run, bit for bit on a CPU.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from configs.schema import Config, ConfigError
from datasets.augment import augment
from datasets.transforms import drop_labels, random_flip, to_model
from functions.denoiser import Denoiser
from functions.loss import LOSSES
from models import build
from models.ema import EMA
from models.power_ema import PowerEMA
from runners.machine.precision import autocast, laid_out, memory_format
from runners.machine.processes import Ranks
from runners.machine.seeds import seed_step


class NonFiniteLossError(RuntimeError):
    """The loss or its gradient is not finite; the weights have not been touched."""


@dataclass(frozen=True)
class Step:
    """One training step of this process, as it is logged.

    step: updates done, this one included; images: seen by them, over all processes; seconds: of
    training, the pauses between a run and its resumptions left out; loss: without any weight (but
    as it was returned by a loss that takes the weight itself), t: both (b,) on the device;
    grad_norm: before clipping, 0-dim; lr: the learning rate used.
    """

    step: int
    images: int
    seconds: float
    loss: Tensor
    t: Tensor
    grad_norm: Tensor
    lr: float


class Trainer:
    """Network, averages and optimizer of one run, and the step that moves them. network: on any
    device. Raises ConfigError for a batch that the processes cannot share equally.
    """

    def __init__(self, config: Config, network: nn.Module, ranks: Ranks) -> None:
        self.config, self.ranks = config, ranks
        if config.training.batch_size % ranks.world:
            raise ConfigError(
                f"training.batch_size {config.training.batch_size} does not divide by "
                f"{ranks.world} processes"
            )
        self.network = laid_out(network, config, ranks.device).train()
        self.layout = memory_format(config)
        model, rates = config.model, config.ema_rates
        begin = (model.ema_warmup, model.ema_rampup)
        self.ema = EMA(self.network, rates, *begin) if rates else None
        self.powers = PowerEMA(self.network, model.ema_powers) if model.ema_powers else None
        fused = ranks.device.type in ("cpu", "cuda")
        self.optimizer = config.optimizer(self.network.parameters(), fused)
        half = config.training.precision == "fp16"
        self.scaler = torch.amp.GradScaler(ranks.device.type, enabled=half)
        self.wrapped = _wrapped(config, self.network, ranks)
        process = config.process()
        self.denoiser = config.denoiser(self.wrapped, process)
        self.times = config.times(process)
        self.loss = LOSSES[config.loss.name]
        self.weight = config.weight(process)
        self.weighs_itself = LOSSES.parts[config.loss.name].takes("weight")
        self.anneal = config.anneal()
        self.step, self.seconds = 0, 0.0

    @property
    def images(self) -> int:
        """Images seen by all processes: a resumption cannot change how many make one update."""
        return self.step * self.config.training.images_per_update

    def state(self) -> dict[str, Any]:
        """Everything that a resumption needs, as tensors and plain values; see `load`."""
        return {
            "step": self.step,
            "seconds": self.seconds,
            "network": self.network.state_dict(),
            "ema": self.ema.state_dict() if self.ema else None,
            "powers": self.powers.state_dict() if self.powers else None,
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "times": self.times.state(),
        }

    def load(self, state: dict[str, Any]) -> None:
        """Set everything that `state` returned. Randomness follows from `step` alone."""
        self.network.load_state_dict(state["network"])
        if self.ema:
            self.ema.load_state_dict(state["ema"])
        if self.powers:
            self.powers.load_state_dict(state["powers"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.scaler.is_enabled() and state["scaler"]:
            self.scaler.load_state_dict(state["scaler"])
        if "times" in state:  # checkpoints of version 0.2.0 have none
            self.times.load(state["times"])
        self.step = state["step"]
        self.seconds = state.get("seconds", 0.0)  # version 0.2.0 did not count them

    def steps(
        self, batches: Iterator[tuple[Tensor, Tensor | None]], total: float = math.inf
    ) -> Iterator[Step]:
        """Train on uint8 batches (b, C, H, W) with their labels (b,), this process' share of each,
        and yield every step.

        total: updates of the whole training, for a learning rate that is annealed to its end.
        Raises NonFiniteLossError before the update that would spoil the weights.
        """
        began = time.perf_counter() - self.seconds
        for images, labels in batches:
            loss, t, norm, lr = self._step(images, labels, total)
            self.seconds = time.perf_counter() - began
            yield Step(self.step, self.images, self.seconds, loss, t, norm, lr)

    @contextlib.contextmanager
    def averaged(self) -> Iterator[Denoiser]:
        """The denoiser with the first average of the weights (the raw ones where there is none), in
        evaluation mode while the block runs.
        """
        denoiser = self.config.denoiser(self.network, self.denoiser.process)
        applied = self.ema.applied(self.network) if self.ema else contextlib.nullcontext()
        self.network.eval()
        try:
            with applied:
                yield denoiser
        finally:
            self.network.train()

    def _step(
        self, images: Tensor, labels: Tensor | None, total: float
    ) -> tuple[Tensor, Tensor, Tensor, float]:
        seed_step(self.config.seed, self.ranks.rank, self.step)
        images = images.to(self.ranks.device, non_blocking=True)
        if self.config.data.random_flip:
            images = random_flip(images)
        x0, told = to_model(images, self.config.data), None
        if self.config.data.augment:
            x0, told = augment(x0, self.config.data.augment)
        x0 = x0.contiguous(memory_format=self.layout)
        t, importance = self.times.sample(len(x0))
        drawn = (t, importance, self.weight(t).float())  # on the CPU: float64 needs no device
        t, importance, weight = (v.to(self.ranks.device) for v in drawn)
        noise = self.denoiser.process.noise(x0)
        loss = self._backward(x0, t, noise, importance, weight, (self._labels(labels), told))
        lr = self._set_lr(total)
        self.scaler.unscale_(self.optimizer)
        limit = self.config.optim.grad_clip or float("inf")
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), limit)
        self._check(loss, norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        if self.ema:
            self.ema.update(self.network)
        if self.powers:
            self.powers.update(self.network)
        if self.times.learns:
            self._learn(t, loss if self.weighs_itself else weight * loss)
        self.step += 1
        return loss, t, norm, lr

    def _labels(self, labels: Tensor | None) -> Tensor | None:
        """Labels that the network is told, some of them dropped; None without data.classes."""
        if not self.config.data.classes:
            return None
        assert labels is not None
        if (none := self.config.no_class) is not None:
            labels = drop_labels(labels, self.config.training.label_dropout, none)
        return labels.to(self.ranks.device, non_blocking=True)

    def _learn(self, t: Tensor, loss: Tensor) -> None:
        """Show the density of times the weighted losses (b,) of all processes, in their order."""
        rows = self.ranks.gather(torch.stack([t.double(), loss.double()], 1))
        self.times.update(rows[:, 0].to(t.dtype), rows[:, 1])

    def _backward(
        self,
        x0: Tensor,
        t: Tensor,
        noise: Tensor,
        importance: Tensor,
        weight: Tensor,
        conditions: tuple[Tensor | None, Tensor | None],
    ) -> Tensor:
        """Add the gradients of the mean weighted loss of one update, by batches or micro-batches;
        the losses (b,), unweighted. conditions: labels, and those of the augmentation.
        """
        count, training = len(x0), self.config.training
        share = count // training.grad_accum
        size = min(training.micro_batch or share, share)
        scale = (x0[0].numel() if self.config.loss.reduction == "sum" else 1) / count
        losses = []
        for begin in range(0, count, size):
            part = slice(begin, begin + size)
            denoiser = self.denoiser.given(*(c if c is None else c[part] for c in conditions))
            with self._sync(begin + size >= count):
                given = {"weight": weight[part]} if self.weighs_itself else {}
                options = {**self.config.loss.options, **given}
                with autocast(self.config.training.precision, x0.device):
                    loss = self.loss(denoiser, x0[part], t[part], noise[part], **options).float()
                weighed = loss if self.weighs_itself else weight[part] * loss
                self.scaler.scale((importance[part] * weighed).sum() * scale).backward()
            losses.append(loss.detach())
        return torch.cat(losses)

    def _sync(self, last: bool) -> contextlib.AbstractContextManager:
        """Exchange gradients between processes with the last micro-batch only."""
        if isinstance(self.wrapped, DistributedDataParallel) and not last:
            return self.wrapped.no_sync()
        return contextlib.nullcontext()

    def _set_lr(self, total: float) -> float:
        optim, anneal = self.config.optim, self.anneal
        lr = optim.lr * min(1.0, (self.step + 1) / max(optim.warmup, 1))
        if anneal is not None:
            size = self.config.training.images_per_update
            lr *= anneal.build(self.images, total * size, **anneal.options)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        return lr

    def _check(self, loss: Tensor, norm: Tensor) -> None:
        """Raise NonFiniteLossError where any process has lost its numbers.

        With fp16 an infinite gradient is ordinary, because the scaler skips that update; a scale
        below 1 is not.
        """
        fine = bool(loss.isfinite().all())
        if self.scaler.is_enabled():
            fine = fine and self.scaler.get_scale() >= 1
        else:
            fine = fine and bool(norm.isfinite())
        if self.ranks.any(not fine)[0]:
            raise NonFiniteLossError(
                f"the loss or its gradient is not finite at step {self.step + 1}, before the update"
            )


def new_trainer(config: Config, ranks: Ranks) -> Trainer:
    """A trainer with freshly initialised weights, the same on every process."""
    seed_step(config.seed, 2**32 - 1, 0)
    return Trainer(config, build(config.model.name, **config.model.options), ranks)


def _wrapped(config: Config, network: nn.Module, ranks: Ranks) -> nn.Module:
    module: nn.Module = network
    if config.training.compile:
        module = torch.compile(network)  # type: ignore[assignment]
    if ranks.world > 1:
        devices = [ranks.device.index] if ranks.device.type == "cuda" else None
        return DistributedDataParallel(module, device_ids=devices)
    return module
