"""Exponential moving averages of a network's weights."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from configs.parts import require
from configs.values import Positive


class Averages(ABC):
    """Averages of the trainable parameters, one for each of some numbers that name them:
    `average <- r average + (1 - r) weight`, where `rate` gives r.

    network: the bare one, not its DDP or compiled wrapper. Its frozen parameters and buffers are
    not averaged.
    """

    def __init__(self, network: nn.Module, names: Sequence[float]) -> None:
        self.names = [float(name) for name in names]
        self.updates = 0
        live = _trainable(network)
        self._averages = [{k: p.detach().clone() for k, p in live.items()} for _ in self.names]

    @abstractmethod
    def rate(self, name: float) -> float:
        """The rate r of this update, which `updates` counts already."""

    @abstractmethod
    def settings(self) -> dict:
        """Plain values that a stored state must share."""

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Move every average towards the network's weights."""
        live = self._matching(network)
        self.updates += 1
        for name, average in zip(self.names, self._averages, strict=True):
            torch._foreach_lerp_(list(average.values()), live, 1 - self.rate(name))

    def weights(self, name: float | None = None) -> dict[str, Tensor]:
        """Give an average by parameter name; None: the first.

        The tensors are not copies: the next update changes them.
        """
        if name is None:
            return dict(self._averages[0])
        if name not in self.names:
            raise ValueError(f"there is no average {name}; there are {self.names}")
        return dict(self._averages[self.names.index(name)])

    @contextmanager
    def applied(self, network: nn.Module, name: float | None = None) -> Iterator[nn.Module]:
        """Give the network the average inside a `with` block, and its own weights after it."""
        average = list(self.weights(name).values())
        live = self._matching(network)
        own = [p.clone() for p in live]
        try:
            torch._foreach_copy_(live, average)
            yield network
        finally:
            torch._foreach_copy_(live, own)

    def state_dict(self) -> dict:
        """Collect the state of all averages: tensors (not copies) and plain types."""
        averages = [dict(average) for average in self._averages]
        return {**self.settings(), "updates": self.updates, "averages": averages}

    @torch.no_grad()
    def load_state_dict(self, state: dict) -> None:
        """Restore a state. Raises ValueError for other settings, names or shapes."""
        settings = self.settings()
        if (stored := {key: state.get(key) for key in settings}) != settings:
            raise ValueError(f"the stored averages have {stored}; they should have {settings}")
        for mine, theirs in zip(self._averages, state["averages"], strict=True):
            _same_names(mine, theirs, "the stored averages")
        for mine, theirs in zip(self._averages, state["averages"], strict=True):
            for name, tensor in mine.items():
                tensor.copy_(theirs[name])
        self.updates = state["updates"]

    def _matching(self, network: nn.Module) -> list[Tensor]:
        """List the network's trainable parameters, detached, in the order of the averages."""
        live = _trainable(network)
        _same_names(self._averages[0], live, "the network")
        return [live[name].detach() for name in self._averages[0]]


class EMA(Averages):
    """Averages of constant rates, named by them, with an optional beginning.

    warmup: the t-th update (t = 1, 2, ...) uses min(rate, (1 + t) / (10 + t)), so that the random
    first weights are forgotten quickly. rampup: the half-life, in updates or images, is at most
    `rampup` times what was seen before the update (2206.00364, EDM's training code: 0.05).

    Raises ValueError for no rates, equal rates, rates outside [0, 1), and rampup 0 or below.
    """

    def __init__(
        self,
        network: nn.Module,
        rates: float | Sequence[float],
        warmup: bool = False,
        rampup: Positive | None = None,
    ) -> None:
        require(EMA, rampup=rampup)
        rates = list(rates) if isinstance(rates, Sequence) else [rates]
        if not rates or len(set(rates)) < len(rates):
            raise ValueError(f"ema_rate: {rates} must be one or more different rates")
        if not all(0 <= r < 1 for r in rates):
            raise ValueError(f"ema_rate: {rates} must lie in [0, 1), such as 0.9999")
        super().__init__(network, rates)
        self.warmup, self.rampup = warmup, rampup

    def rate(self, name: float) -> float:
        """The rate of this update, smaller at the beginning."""
        if self.warmup:
            return min(name, (1 + self.updates) / (10 + self.updates))
        if self.rampup is not None:
            half_life = self.rampup * (self.updates - 1)
            return min(name, 0.5 ** (1 / half_life)) if half_life else 0.0
        return name

    def settings(self) -> dict:
        """Rates and their beginning."""
        return {"rates": self.names, "warmup": self.warmup, "rampup": self.rampup}


def _trainable(network: nn.Module) -> dict[str, Tensor]:
    return {name: p for name, p in network.named_parameters() if p.requires_grad}


def _same_names(mine: dict[str, Tensor], theirs: dict[str, Tensor], whose: str) -> None:
    odd = sorted(mine.keys() ^ theirs.keys())
    odd += [k for k in mine if k in theirs and mine[k].shape != theirs[k].shape]
    if odd:
        raise ValueError(
            f"{whose} and the averages differ in {len(odd)} parameters, such as {odd[0]}; "
            "averages belong to one bare network"
        )
