"""A denoiser is a network plus a process: it knows which noise is in x at time t."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from functions.process import Process, apply

PREDICTS = ("eps", "x0", "v")


class Denoiser(nn.Module):
    """network(x, t, label) -> what `predicts` says, shaped like x.

    predicts: "eps" the noise, "x0" the clean state, "v" = alpha eps - sigma x0 (Salimans & Ho
    2022). clip: bound on the pixels of the predicted clean image, None for no bound; it acts in
    `eps` and `x0`, which samplers ask, never in the training target.
    """

    def __init__(
        self, network: nn.Module, process: Process, predicts: str = "eps", clip: float | None = None
    ) -> None:
        super().__init__()
        if predicts not in PREDICTS:
            raise ValueError(f"predicts is one of {', '.join(PREDICTS)}, not {predicts!r}")
        self.network = network
        self.process = process
        self.predicts = predicts
        self.clip = clip

    def forward(self, x: Tensor, t: Tensor | float, label: Tensor | None = None) -> Tensor:
        """The network's own answer at state x (B, ...) and time t, a number or (B,); dtype of x."""
        times = torch.as_tensor(t, dtype=None if isinstance(t, Tensor) else torch.float64)
        times = self.process.network_time(times.to(x.device).reshape(-1))
        answer = self.network(x, times) if label is None else self.network(x, times, label)
        return answer.to(x.dtype)  # under autocast the network answers in half precision

    def target(self, x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """What the network should answer for data x0 (B, C, H, W) perturbed by noise at t (B,)."""
        if self.predicts == "eps":
            return noise
        if self.predicts == "x0":
            return self.process.lift(x0)
        mean, factor = self.process.mean(t), self.process.factor(t)
        return apply(mean, noise) - apply(factor, self.process.lift(x0))

    def eps(self, x: Tensor, t: Tensor | float, label: Tensor | None = None) -> Tensor:
        """The noise in x, shaped like x; where clip is set, the one that fits the clipped x0."""
        if self.clip is None:
            return self.raw_eps(x, t, label)
        return self._rest(x, self.x0(x, t, label), *self._scales(t))

    def raw_eps(self, x: Tensor, t: Tensor | float, label: Tensor | None = None) -> Tensor:
        """The noise in x as the network tells it, never clipped: what losses compare."""
        answer = self(x, t, label)
        if self.predicts == "eps":
            return answer
        mean, factor = self._scales(t)
        return self._rest(x, self._clean(x, answer, mean, factor), mean, factor)

    def x0(self, x: Tensor, t: Tensor | float, label: Tensor | None = None) -> Tensor:
        """The clean state (lifted data) expected behind x, shaped like x."""
        clean = self.raw_x0(x, t, label)
        if self.clip is None:
            return clean
        return self.process.lift(self.process.drop(clean).clamp(-self.clip, self.clip))

    def raw_x0(self, x: Tensor, t: Tensor | float, label: Tensor | None = None) -> Tensor:
        """The clean state as the network tells it, never clipped."""
        return self._clean(x, self(x, t, label), *self._scales(t))

    def _scales(self, t: Tensor | float) -> tuple[Tensor, Tensor]:
        time = torch.as_tensor(t, dtype=torch.float64)
        return self.process.mean(time), self.process.factor(time)

    def _clean(self, x: Tensor, answer: Tensor, mean: Tensor, factor: Tensor) -> Tensor:
        if self.predicts == "x0":
            return answer
        if self.predicts == "v":
            return apply(mean, x) - apply(factor, answer)
        return apply(torch.linalg.inv(mean), x - apply(factor, answer))

    def _rest(self, x: Tensor, clean: Tensor, mean: Tensor, factor: Tensor) -> Tensor:
        return apply(torch.linalg.inv(factor), x - apply(mean, clean))


class Scaled(Denoiser):
    """A denoiser whose noise estimate is multiplied by scale(t): epsilon scaling, training-free
    S^2-DM (`functions.scales`). The clean state follows from the scaled noise; clipping comes last.
    """

    def __init__(self, denoiser: Denoiser, scale: Callable[[Tensor], Tensor]) -> None:
        super().__init__(denoiser.network, denoiser.process, denoiser.predicts, denoiser.clip)
        self.scale = scale

    def raw_eps(self, x: Tensor, t: Tensor | float, label: Tensor | None = None) -> Tensor:
        """The scaled noise, shaped like x."""
        time = torch.as_tensor(t, dtype=torch.float64)
        return apply(self.scale(time)[..., None, None], super().raw_eps(x, t, label))

    def raw_x0(self, x: Tensor, t: Tensor | float, label: Tensor | None = None) -> Tensor:
        """The clean state that goes with the scaled noise."""
        mean, factor = self._scales(t)
        return apply(torch.linalg.inv(mean), x - apply(factor, self.raw_eps(x, t, label)))
