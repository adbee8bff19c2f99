"""Exponential moving averages of a network's weights."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class EMA:
    """Averages of the trainable parameters, one per rate: `average <- r average + (1 - r) weight`.

    network: the bare one, not its DDP or compiled wrapper. Its frozen parameters and buffers are
    not averaged. warmup: the t-th update (t = 1, 2, ...) uses min(rate, (1 + t) / (10 + t)), so
    that the random first weights are forgotten quickly.

    Raises ValueError for no rates, equal rates, and rates outside [0, 1).
    """

    def __init__(self, network: nn.Module, rates: float | Sequence[float], warmup: bool = False):
        self.rates = [float(r) for r in (rates if isinstance(rates, Sequence) else [rates])]
        if not self.rates or len(set(self.rates)) < len(self.rates):
            raise ValueError(f"ema_rate: {self.rates} must be one or more different rates")
        if not all(0 <= r < 1 for r in self.rates):
            raise ValueError(f"ema_rate: {self.rates} must lie in [0, 1), such as 0.9999")
        self.warmup = warmup
        self.updates = 0
        live = _trainable(network)
        self._averages = [{k: p.detach().clone() for k, p in live.items()} for _ in self.rates]

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Move every average towards the network's weights."""
        live = self._matching(network)
        self.updates += 1
        for rate, average in zip(self.rates, self._averages, strict=True):
            if self.warmup:
                rate = min(rate, (1 + self.updates) / (10 + self.updates))
            torch._foreach_lerp_(list(average.values()), live, 1 - rate)

    def weights(self, rate: float | None = None) -> dict[str, Tensor]:
        """Give the average of a rate by parameter name; None: of the first rate.

        The tensors are not copies: the next update changes them.
        """
        if rate is None:
            return dict(self._averages[0])
        if rate not in self.rates:
            raise ValueError(f"no average has rate {rate}; the rates are {self.rates}")
        return dict(self._averages[self.rates.index(rate)])

    @contextmanager
    def applied(self, network: nn.Module, rate: float | None = None) -> Iterator[nn.Module]:
        """Give the network the average inside a `with` block, and its own weights after it."""
        average = list(self.weights(rate).values())
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
        return {
            "rates": list(self.rates),
            "warmup": self.warmup,
            "updates": self.updates,
            "averages": averages,
        }

    @torch.no_grad()
    def load_state_dict(self, state: dict) -> None:
        """Restore a state. Raises ValueError for other rates, names or shapes."""
        if state["rates"] != self.rates or state["warmup"] != self.warmup:
            raise ValueError(
                f"the stored averages have rates {state['rates']} (warm-up {state['warmup']}); "
                f"they should have {self.rates} (warm-up {self.warmup})"
            )
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
