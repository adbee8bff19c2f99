"""Denoiser: a network and its process, which together estimate the noise in x at time t."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cached_property
from typing import Literal, NamedTuple, Self

import torch
from torch import Tensor, nn

from configs.parts import require
from configs.values import Positive
from functions.plan import accumulate, shaped
from functions.process import Process, VariancePreserving, apply

Predicts = Literal["eps", "x0", "v"]
Mixed = Literal["none", "normal", "velocity"]
Variance = Literal["large", "small", "learned"]


class Answer(NamedTuple):
    """Answer of a network: its prediction, shaped like the state, and v of the learned variance,
    shaped alike, None where it has none.
    """

    prediction: Tensor
    v: Tensor | None


class Denoiser(nn.Module):
    """A network, called as network(x, t, label), and the process that it was trained for. Where
    images are augmented in training, it is called as network(x, t, label, augment=labels).

    predicts: answer of the network: "eps" the noise, "x0" the clean state, "v" = alpha eps - sigma
        x0 (2202.00512).
    clip: bound of the pixels of the predicted clean image, None for no bound. It acts in `eps` and
        `x0`, which samplers ask, never in the training target.
    mixed: linear function of x that is added to the answer, so that the sum follows the size of x
        however far x strays. "none": nothing. "normal": the noise expected for standard normal data
        (the mixed score of LSGM, 2106.05931, with a fixed weight). "velocity": R^-1 (0, v), the
        mixed score of CLD in gDDIM's code (after 2112.07068).
    variance: of a reverse step, which bounds and `ddpm` use: "large" beta, "small" the posterior's,
        "learned" in between: the network answers twice the channels, the prediction and v, and
        log var = frac log beta + (1 - frac) log betatilde, frac = (v + 1)/2 (2102.09672, eq. 15).
        With a fixed variance the v of such a network is not used.

    Raises ValueError for options out of range, v or a learned variance on a process that does not
    preserve the variance, mixed with another `predicts` than eps, and velocity on a process without
    one.
    """

    def __init__(
        self,
        network: nn.Module,
        process: Process,
        predicts: Predicts = "eps",
        clip: Positive | None = None,
        mixed: Mixed = "none",
        variance: Variance = "large",
    ) -> None:
        super().__init__()
        require(Denoiser, predicts=predicts, clip=clip, mixed=mixed, variance=variance)
        if predicts == "v" and not isinstance(process, VariancePreserving):
            raise ValueError("v is defined for variance-preserving processes only")
        if mixed != "none" and predicts != "eps":
            raise ValueError(f"a mixed score needs predicts eps, not {predicts!r}")
        if mixed == "velocity" and process.groups != 2:
            raise ValueError("a mixed score of the velocity needs a process that has one: cld")
        if variance == "learned" and not isinstance(process, VariancePreserving):
            raise ValueError("a learned variance needs a variance-preserving process")
        self.network = network
        self.process = process
        self.predicts = predicts
        self.clip = clip
        self.mixed = mixed
        self.variance = variance
        self.label: Tensor | None = None
        self.augment: Tensor | None = None
        self._kept: dict[float, _At] = {}

    def given(self, label: Tensor | None, augment: Tensor | None = None) -> Self:
        """The same denoiser, which asks with these labels (B,) where a call names none. augment:
        numbers (B, n) that tell the network how the images were augmented, None for not at all.
        """
        own = copy.copy(self)
        own.label, own.augment = label, augment
        return own

    def forward(self, x: Tensor, t: Tensor | float, label: Tensor | None = None) -> Tensor:
        """Prediction of the network, with its mixed score, at state x (B, ...) and time t, a number
        or (B,). Shape and dtype are those of x; ValueError for an answer of another shape.
        """
        return self.ask(x, t, label).prediction

    def ask(self, x: Tensor, t: Tensor | float, label: Tensor | None = None) -> Answer:
        """Ask the network once, as `forward` does, for its prediction and its v. All other methods
        get their answer here. Raises ValueError for an answer without v under a learned variance.
        """
        times = torch.as_tensor(t, dtype=None if isinstance(t, Tensor) else torch.float64)
        times = self.process.network_time(times.to(x.device).reshape(-1))
        label = self.label if label is None else label
        shown, given = self.process.to_network(x), [] if label is None else [label]
        told = {} if self.augment is None else {"augment": self.augment}
        answer = self.network(shown, times, *given, **told).to(x.dtype)  # half under autocast
        v = None
        if answer.ndim > 1 and answer.shape[1] == 2 * x.shape[1]:
            answer, v = answer.chunk(2, 1)
        elif self.variance == "learned":
            raise ValueError(
                f"the network answers {tuple(answer.shape)} to a state {tuple(x.shape)}; with a "
                "learned variance it should answer twice the channels"
            )
        answer = shaped(self.process.from_network(answer), x)
        if self.mixed == "none":
            return Answer(answer, v)
        at = self._at(t)
        return Answer(answer + apply(at.normal if self.mixed == "normal" else at.velocity, x), v)

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
        return self.noise_of(x, self(x, t, label), t)

    def noise_of(self, x: Tensor, prediction: Tensor, t: Tensor | float) -> Tensor:
        """Noise that a prediction at (x, t) stands for, without clipping."""
        if self.predicts == "eps":
            return prediction
        return self._at(t).noise(x, self.clean_of(x, prediction, t))

    def x0(self, x: Tensor, t: Tensor | float, label: Tensor | None = None) -> Tensor:
        """Expected clean state (lifted data) of x, shaped like x."""
        return self.posterior(x, t, label).prediction

    def raw_x0(self, x: Tensor, t: Tensor | float, label: Tensor | None = None) -> Tensor:
        """Expected clean state of x without clipping."""
        return self.clean_of(x, self(x, t, label), t)

    def posterior(self, x: Tensor, t: Tensor | float, label: Tensor | None = None) -> Answer:
        """Expected clean state of x, as `x0` gives it, and v, from one evaluation."""
        prediction, v = self.ask(x, t, label)
        clean = self.clean_of(x, prediction, t)
        return Answer(clean if self.clip is None else self.clipped(clean, self.clip), v)

    def clean_of(self, x: Tensor, prediction: Tensor, t: Tensor | float) -> Tensor:
        """Clean state that a prediction at (x, t) stands for, without clipping."""
        if self.predicts == "x0":
            return prediction
        at = self._at(t)
        if self.predicts == "v":
            return accumulate(apply(at.mean, x), -at.factor, prediction)
        return at.clean(x, prediction)

    def clipped(self, clean: Tensor, bound: float) -> Tensor:
        """Clean state whose pixels lie in [-bound, bound]."""
        return self.process.lift(self.process.drop(clean).clamp(-bound, bound))

    def _at(self, t: Tensor | float) -> _At:
        """Coefficients at t. Those of single times are kept: a plan asks for them again."""
        if isinstance(t, Tensor):
            return _At(self.process, t.double())
        if t not in self._kept:
            self._kept[t] = _At(self.process, torch.tensor(t, dtype=torch.float64))
        return self._kept[t]


class _At:
    """Coefficients of a process at a time, and the solutions of x = mean x0 + factor eps for x0 and
    eps; they take two passes over memory where the coefficients are numbers.
    """

    def __init__(self, process: Process, t: Tensor) -> None:
        self.mean, self.factor = process.mean(t), process.factor(t)

    @cached_property
    def _to_clean(self) -> tuple[Tensor, Tensor]:
        inverse = _inverse(self.mean)
        return inverse, -inverse @ self.factor

    @cached_property
    def _to_noise(self) -> tuple[Tensor, Tensor]:
        inverse = _inverse(self.factor)
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


def _inverse(coef: Tensor) -> Tensor:
    """Inverse of a Coef; of numbers without a factorisation, which an accelerator would wait for.
    Raises ValueError for a number 0, on the CPU.
    """
    if coef.shape[-1] > 1:
        return torch.linalg.inv(coef)
    if coef.device.type == "cpu" and not torch.compiler.is_compiling() and not coef.all():
        raise ValueError("the noise schedule leaves no signal, or no noise, at this time")
    return coef.reciprocal()


class Scaled(Denoiser):
    """A denoiser whose noise estimate is multiplied by scale(t), an eps scale (`functions.scales`).
    The clean state follows from the scaled noise; clipping comes last.
    """

    def __init__(self, denoiser: Denoiser, scale: Callable[[Tensor], Tensor]) -> None:
        network, process, variance = denoiser.network, denoiser.process, denoiser.variance
        super().__init__(network, process, clip=denoiser.clip, variance=variance)
        self.inner = denoiser
        self.scale = scale

    def ask(self, x: Tensor, t: Tensor | float, label: Tensor | None = None) -> Answer:
        """Scaled noise, shaped like x, and v."""
        prediction, v = self.inner.ask(x, t, self.label if label is None else label)
        factor = self.scale(torch.as_tensor(t, dtype=torch.float64))[..., None, None]
        return Answer(apply(factor, self.inner.noise_of(x, prediction, t)), v)
