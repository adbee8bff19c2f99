"""Guidance: a denoiser whose answers are moved away from those of a worse one."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from configs.parts import require
from configs.values import PositiveOrZero, Share
from functions.denoiser import Answer, Denoiser, Scaled, tells
from functions.predictions import Predicts
from functions.process import Process, Scalar
from functions.rows import need_scalar


class Guided(Denoiser):
    """other + W (denoiser - other), a denoiser for any sampler; W = 0 is the other, 1 the denoiser.

    denoiser: of a network with classes (with a guide also of one without).
    weight: W (2207.12598, eq. 6, counts w = W - 1).
    low, high: noise levels sigma/alpha; where sigma/alpha is not in (low, high], W is 1
        (2404.07724; its sigma is sigma/alpha, in pixels of [-1, 1]).
    no_class: the other is the denoiser itself, told this label (2207.12598). Both answers come from
        one batch of twice the rows.
    guide: the other is a weaker denoiser of the same process, told the same label (2406.02507).
    rescale: share by which a guided prediction is scaled back to the standard deviation, over an
        image, of the denoiser's own (2305.08891, eq. 15 and 16).

    Where W is 0 or 1 only one of the two is asked. A learned variance is the denoiser's own, but
    the other's where W is 0. Raises ValueError for numbers out of range, for an interval on a
    process without noise levels, for a guide of another process or without the variance that it
    would be asked for, and where neither no_class nor guide is there.
    """

    def __init__(
        self,
        denoiser: Denoiser,
        weight: PositiveOrZero,
        low: PositiveOrZero = 0.0,
        high: float = math.inf,
        no_class: int | None = None,
        guide: Denoiser | None = None,
        rescale: Share = 0.0,
    ) -> None:
        if guide is None and no_class is None:
            raise ValueError("guidance needs a label that means no class, or a guide")
        require(Guided, weight=weight, low=low, rescale=rescale)
        if not low < high:
            raise ValueError(
                f"an interval of guidance has low below high, not {low:g} and {high:g}"
            )
        if guide is not None and not _same(guide.process, denoiser.process):
            raise ValueError("a guide needs the process of the denoiser that it guides")
        if guide is not None and denoiser.variance == "learned" != guide.variance and weight == 0:
            raise ValueError("guidance 0 asks the guide alone, which has no learned variance")
        if (low, high) != (0.0, math.inf):
            need_levels(denoiser.process)
        # Weights of the sum add to 1, so predictions of one kind may be summed as they are.
        one_kind = guide is None or guide.predicts == denoiser.predicts
        both: Predicts = "eps" if tells(denoiser.process, denoiser.process.t_start, "eps") else "x0"
        super().__init__(
            denoiser.network,
            denoiser.process,
            denoiser.predicts if one_kind else both,
            denoiser.clip,
            variance=denoiser.variance,
        )
        self.inner, self.guide, self.no_class = denoiser, guide, no_class
        self.weight, self.low, self.high, self.rescale = float(weight), low, high, rescale

    def ask(self, x: Tensor, t: Tensor | float, label: Tensor | None = None) -> Answer:
        """Guided prediction at state x (B, ...), and the denoiser's v."""
        label = self.label if label is None else label
        weight = self._weight(t)
        if isinstance(weight, float) and weight == 1:
            return self._asked(self.inner, x, t, label)
        if isinstance(weight, float) and weight == 0:
            return self._other(x, t, label)
        own, other = self._both(x, t, label)
        if isinstance(weight, Tensor):  # one for each state
            weight = weight.to(x).view(-1, *[1] * (x.ndim - 1))
        guided = other + weight * (own.prediction - other)
        return Answer(self._rescaled(guided, own.prediction), own.v)

    def _rescaled(self, guided: Tensor, own: Tensor) -> Tensor:
        """Guided prediction, scaled back as `rescale` says."""
        if self.rescale == 0:
            return guided
        sizes = [x.flatten(1).std(1).view(-1, *[1] * (x.ndim - 1)) for x in (own, guided)]
        return guided * (1 + self.rescale * (sizes[0] / sizes[1] - 1))

    def rows(self, t: Tensor | float) -> int:
        """Rows that networks answer for each state at t."""
        weight = self._weight(t)
        return 1 if isinstance(weight, float) and weight in (0, 1) else 2

    def _weight(self, t: Tensor | float) -> float | Tensor:
        """W at t: a number, or (B,) where states lie inside and outside of the interval."""
        if (self.low, self.high) == (0.0, math.inf):
            return self.weight
        level = need_levels(self.process).rho(torch.as_tensor(t, dtype=torch.float64))
        inside = (level > self.low) & (level <= self.high)
        if bool(inside.all()) or not bool(inside.any()):
            return self.weight if bool(inside.all()) else 1.0
        return torch.where(inside, self.weight, 1.0)

    def _other(self, x: Tensor, t: Tensor | float, label: Tensor | None) -> Answer:
        if self.guide is not None:
            return self._asked(self.guide, x, t, label)
        return self._asked(self.inner, x, t, self._none(x))

    def _both(self, x: Tensor, t: Tensor | float, label: Tensor | None) -> tuple[Answer, Tensor]:
        """Answer of the denoiser and prediction of the other."""
        if self.guide is not None:
            other = self._asked(self.guide, x, t, label).prediction
            return self._asked(self.inner, x, t, label), other
        if label is None:
            raise ValueError("guidance by classes needs labels")
        if isinstance(t, Tensor) and t.numel() > 1:
            t = torch.cat([t, t])
        labels = torch.cat([label, self._none(x)])
        prediction, v = self._asked(self.inner, torch.cat([x, x]), t, labels)
        own, other = prediction.chunk(2)
        return Answer(own, None if v is None else v.chunk(2)[0]), other

    def _none(self, x: Tensor) -> Tensor:
        assert self.no_class is not None
        return torch.full((len(x),), self.no_class, device=x.device)

    def _asked(
        self, denoiser: Denoiser, x: Tensor, t: Tensor | float, label: Tensor | None
    ) -> Answer:
        """Answer of one of the two in the prediction of this one."""
        prediction, v = denoiser.ask(x, t, label)
        if denoiser.predicts == self.predicts:
            return Answer(prediction, v)
        convert = denoiser.noise_of if self.predicts == "eps" else denoiser.clean_of
        return Answer(convert(x, prediction, t), v)


def _same(one: Process, other: Process) -> bool:
    """Whether two processes are equal at their ends and in the middle of their times."""
    if type(one) is not type(other) or (one.steps, one.t_train) != (other.steps, other.t_train):
        return False
    times = torch.tensor([one.t_end, sum(one.t_train) / 2, one.t_start], dtype=torch.float64)
    return all(
        torch.equal(a(times), b(times))
        for a, b in ((one.mean, other.mean), (one.factor, other.factor))
    )


def need_levels(process: Process) -> Scalar:
    """The process, if it has noise levels sigma/alpha. Raises ValueError otherwise."""
    return need_scalar(process, "a guidance interval")


def rows_asked(denoiser: Denoiser, t: Tensor | float) -> int:
    """Rows that networks answer for each state at t: 1, or 2 where guidance compares answers."""
    while isinstance(denoiser, Scaled):
        denoiser = denoiser.inner
    return denoiser.rows(t) if isinstance(denoiser, Guided) else 1
