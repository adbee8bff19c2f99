"""Denoiser: a network and its process, which together estimate the noise in x at time t."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor, nn

from configs.parts import require
from configs.values import Positive
from functions.plan import accumulate, shaped
from functions.process import Process, VariancePreserving, apply

Predicts = Literal["eps", "x0", "v"]
Mixed = Literal["none", "normal", "velocity"]


class Denoiser(nn.Module):
    """A network, called as network(x, t, label), and the process that it was trained for.

    predicts: answer of the network: "eps" the noise, "x0" the clean state, "v" = alpha eps - sigma
        x0 (2202.00512).
    clip: bound of the pixels of the predicted clean image, None for no bound. It acts in `eps` and
        `x0`, which samplers ask, never in the training target.
    mixed: linear function of x that is added to the answer, so that the sum follows the size of x
        however far x strays. "none": nothing. "normal": the noise expected for standard normal data
        (the mixed score of LSGM, 2106.05931, with a fixed weight). "velocity": R^-1 (0, v), the
        mixed score of CLD in gDDIM's code (after 2112.07068).

    Raises ValueError for options out of range, v on a process that does not preserve the variance,
    mixed with another `predicts` than eps, and velocity on a process without one.
    """

    def __init__(
        self,
        network: nn.Module,
        process: Process,
        predicts: Predicts = "eps",
        clip: Positive | None = None,
        mixed: Mixed = "none",
    ) -> None:
        super().__init__()
        require(Denoiser, predicts=predicts, clip=clip, mixed=mixed)
        if predicts == "v" and not isinstance(process, VariancePreserving):
            raise ValueError("v is defined for variance-preserving processes only")
        if mixed != "none" and predicts != "eps":
            raise ValueError(f"a mixed score needs predicts eps, not {predicts!r}")
        if mixed == "velocity" and process.groups != 2:
            raise ValueError("a mixed score of the velocity needs a process that has one: cld")
        self.network = network
        self.process = process
        self.predicts = predicts
        self.clip = clip
        self.mixed = mixed
        self._kept: dict[float, _At] = {}

    def forward(self, x: Tensor, t: Tensor | float, label: Tensor | None = None) -> Tensor:
        """Answer of the network, with its mixed score, at state x (B, ...) and time t, a number or
        (B,). Shape and dtype are those of x; ValueError for an answer of another shape.
        """
        times = torch.as_tensor(t, dtype=None if isinstance(t, Tensor) else torch.float64)
        times = self.process.network_time(times.to(x.device).reshape(-1))
        shown, given = self.process.to_network(x), [] if label is None else [label]
        answer = self.network(shown, times, *given)
        answer = shaped(
            self.process.from_network(answer.to(x.dtype)), x
        )  # half precision under autocast
        if self.mixed == "none":
            return answer
        at = self._at(t)
        return answer + apply(at.normal if self.mixed == "normal" else at.velocity, x)

    def target(self, x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """Right answer of the network for data x0 (B, C, H, W) perturbed by noise at t (B,)."""
        if self.predicts == "eps":
            return noise
        if self.predicts == "x0":
            return self.process.lift(x0)
        mean, factor = self.process.mean(t), self.process.factor(t)
        return apply(mean, noise) - apply(factor, self.process.lift(x0))

    def eps(self, x: Tensor, t: Tensor | float, label: Tensor | None = None) -> Tensor:
        """Noise in x, shaped like x; where clip is set, the noise that fits the clipped x0."""
        if self.clip is None:
            return self.raw_eps(x, t, label)
        return self._at(t).noise(x, self.x0(x, t, label))

    def raw_eps(self, x: Tensor, t: Tensor | float, label: Tensor | None = None) -> Tensor:
        """Noise in x without clipping, which losses compare."""
        answer = self(x, t, label)
        if self.predicts == "eps":
            return answer
        at = self._at(t)
        return at.noise(x, self._clean(x, answer, at))

    def x0(self, x: Tensor, t: Tensor | float, label: Tensor | None = None) -> Tensor:
        """Expected clean state (lifted data) of x, shaped like x."""
        clean = self.raw_x0(x, t, label)
        if self.clip is None:
            return clean
        return self.process.lift(self.process.drop(clean).clamp(-self.clip, self.clip))

    def raw_x0(self, x: Tensor, t: Tensor | float, label: Tensor | None = None) -> Tensor:
        """Expected clean state of x without clipping."""
        return self._clean(x, self(x, t, label), self._at(t))

    def _at(self, t: Tensor | float) -> _At:
        """Coefficients at t. Those of single times are kept: a plan asks for them again."""
        if isinstance(t, Tensor):
            return _At(self.process, t.double())
        if t not in self._kept:
            self._kept[t] = _At(self.process, torch.tensor(t, dtype=torch.float64))
        return self._kept[t]

    def _clean(self, x: Tensor, answer: Tensor, at: _At) -> Tensor:
        if self.predicts == "x0":
            return answer
        if self.predicts == "v":
            return accumulate(apply(at.mean, x), -at.factor, answer)
        return at.clean(x, answer)


class _At:
    """Coefficients of a process at a time, and the solutions of x = mean x0 + factor eps for x0 and
    eps; they take two passes over memory where the coefficients are numbers.
    """

    def __init__(self, process: Process, t: Tensor) -> None:
        self.mean, self.factor = process.mean(t), process.factor(t)

    @cached_property
    def _to_clean(self) -> tuple[Tensor, Tensor]:
        inverse = torch.linalg.inv(self.mean)
        return inverse, -inverse @ self.factor

    @cached_property
    def _to_noise(self) -> tuple[Tensor, Tensor]:
        inverse = torch.linalg.inv(self.factor)
        return inverse, -inverse @ self.mean

    @cached_property
    def normal(self) -> Tensor:
        """Coef of x in E[noise | x]; data, the first component of the state, standard normal."""
        data = self.mean[..., :1]
        covariance = data @ data.mT + self.factor @ self.factor.mT
        return self.factor.mT @ torch.linalg.inv(covariance)

    @cached_property
    def velocity(self) -> Tensor:
        """Coef of x in R^-1 (0, v)."""
        return torch.linalg.inv(self.factor) * torch.tensor([0.0, 1.0], device=self.factor.device)

    def clean(self, x: Tensor, eps: Tensor) -> Tensor:
        """Clean state of x if its noise is eps."""
        of_x, of_eps = self._to_clean
        return accumulate(apply(of_x, x), of_eps, eps)

    def noise(self, x: Tensor, clean: Tensor) -> Tensor:
        """Noise of x if its clean state is `clean`."""
        of_x, of_clean = self._to_noise
        return accumulate(apply(of_x, x), of_clean, clean)


class Scaled(Denoiser):
    """A denoiser whose noise estimate is multiplied by scale(t), an eps scale (`functions.scales`).
    The clean state follows from the scaled noise; clipping comes last.
    """

    def __init__(self, denoiser: Denoiser, scale: Callable[[Tensor], Tensor]) -> None:
        own = (denoiser.predicts, denoiser.clip, denoiser.mixed)
        super().__init__(denoiser.network, denoiser.process, *own)
        self.scale = scale

    def raw_eps(self, x: Tensor, t: Tensor | float, label: Tensor | None = None) -> Tensor:
        """Scaled noise, shaped like x."""
        time = torch.as_tensor(t, dtype=torch.float64)
        return apply(self.scale(time)[..., None, None], super().raw_eps(x, t, label))

    def raw_x0(self, x: Tensor, t: Tensor | float, label: Tensor | None = None) -> Tensor:
        """Clean state of x if its noise is the scaled one."""
        return self._at(t).clean(x, self.raw_eps(x, t, label))
