"""Denoiser: a network and its process, which together estimate the noise in x at time t."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Literal, NamedTuple, Self

import torch
from torch import Tensor, nn

from configs.parts import require
from configs.values import Positive
from functions.basis import silent
from functions.clips import Clip
from functions.coefficients import At
from functions.plan import Basis, accumulate, shaped
from functions.predictions import NEED_SIGNAL, Predicts, noise_condition
from functions.process import Process, Scalar, VariancePreserving, apply

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
        x0 (2202.00512), "velocity" = eps - x0 of flow matching (2210.02747), "edm" the network of
        EDM's preconditioning: it sees x at unit variance and log(sigma/alpha)/4 for the time, and
        answers F of x0 = c_skip x + c_out F (2206.00364, eq. 7).
    clip: bound of the pixels of the predicted clean image, or another `Clip`, None for no bound. It
        acts in what samplers ask, `eps`, `x0` and `velocity`, never in the training target.
    mixed: linear function of x that is added to the answer, so that the sum follows the size of x
        however far x strays. "none": nothing. "normal": the noise expected for standard normal data
        (the mixed score of LSGM, 2106.05931, with a fixed weight). "velocity": R^-1 (0, v), the
        mixed score of CLD in gDDIM's code (after 2112.07068).
    variance: of a reverse step, which bounds and `ddpm` use: "large" beta, "small" the posterior's,
        "learned" in between: the network answers twice the channels, the prediction and v, and
        log var = frac log beta + (1 - frac) log betatilde, frac = (v + 1)/2 (2102.09672, eq. 15).
        With a fixed variance the v of such a network is not used.

    Raises ValueError for options out of range; v, velocity or edm on a process whose coefficients
    are not numbers; eps or edm on a continuous process that begins without signal; a learned
    variance where the variance is not preserved; mixed with another `predicts` than eps; and mixed
    "velocity" on a process without one.
    """

    def __init__(
        self,
        network: nn.Module,
        process: Process,
        predicts: Predicts = "eps",
        clip: Positive | Clip | None = None,
        mixed: Mixed = "none",
        variance: Variance = "large",
    ) -> None:
        super().__init__()
        require(Denoiser, predicts=predicts, clip=clip, mixed=mixed, variance=variance)
        _require_prediction(process, predicts)
        if mixed != "none" and predicts != "eps":
            raise ValueError(f"a mixed score needs predicts eps, not {predicts!r}")
        if mixed == "velocity" and process.groups != 2:
            raise ValueError("a mixed score of the velocity needs a process that has one: cld")
        if variance == "learned" and not isinstance(process, VariancePreserving):
            raise ValueError("a learned variance needs a variance-preserving process")
        self.network = network
        self.process = process
        self.predicts = predicts
        self.clip = clip if clip is None or isinstance(clip, Clip) else Clip(clip)
        self.mixed = mixed
        self.variance = variance
        self.label: Tensor | None = None
        self.augment: Tensor | None = None
        self._kept: dict[float, At] = {}

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
        times = times.to(x.device).reshape(-1)
        label = self.label if label is None else label
        given = [] if label is None else [label]
        more = {} if self.augment is None else {"augment": self.augment}
        shown, times = self._told(x, t, times)
        answer = self.network(shown, times, *given, **more).to(x.dtype)  # half under autocast
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

    def _told(self, x: Tensor, t: Tensor | float, times: Tensor) -> tuple[Tensor, Tensor]:
        """State and times as the network receives them."""
        if self.predicts != "edm":
            return self.process.to_network(x), self.process.network_time(times)
        assert isinstance(self.process, Scalar)
        return apply(self._at(t).input_scale, x), noise_condition(self.process, times)

    def target(self, x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """Right answer of the network for data x0 (B, C, H, W) perturbed by noise at t (B,)."""
        if self.predicts == "eps":
            return noise
        if self.predicts == "x0":
            return self.process.lift(x0)
        of_clean, of_noise = self._at(t).pair(self.predicts)
        return accumulate(apply(of_noise, noise), of_clean, self.process.lift(x0))

    def eps(self, x: Tensor, t: Tensor | float, label: Tensor | None = None) -> Tensor:
        """Noise in x, shaped like x; where clip is set, the noise that fits the clipped x0, unless
        the clip keeps the noise: see `moved`.
        """
        if self.clip is None or self.clip.keep_eps:
            return self.raw_eps(x, t, label)
        return self._at(t).noise(x, self.x0(x, t, label))

    def raw_eps(self, x: Tensor, t: Tensor | float, label: Tensor | None = None) -> Tensor:
        """Noise in x without clipping, which losses compare."""
        return self.noise_of(x, self(x, t, label), t)

    def noise_of(self, x: Tensor, prediction: Tensor, t: Tensor | float) -> Tensor:
        """Noise that a prediction at (x, t) stands for, without clipping."""
        if self.predicts == "eps":
            return prediction
        if self.predicts == "x0":
            return self._at(t).noise(x, prediction)
        of_answer, of_x = self._at(t).to_noise(self.predicts)
        return accumulate(apply(of_x, x), of_answer, prediction)

    def velocity(self, x: Tensor, t: Tensor | float, label: Tensor | None = None) -> Tensor:
        """Noise minus clean state, shaped like x, of what `x0` expects."""
        prediction = self(x, t, label)
        if self.clip is None and self.predicts == "velocity":
            return prediction
        clean = self.clean_of(x, prediction, t)
        if self.clip is None:
            return self.noise_of(x, prediction, t) - clean
        clean = self.clipped(clean, self.clip)
        return self._at(t).noise(x, clean) - clean

    def answer(
        self, basis: Basis, x: Tensor, t: Tensor | float, label: Tensor | None = None
    ) -> Tensor:
        """`eps`, `x0` or `velocity`, as a plan asks."""
        asked = {"eps": self.eps, "x0": self.x0, "velocity": self.velocity}[basis]
        return asked(x, t, label)

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
        if self.predicts == "eps":
            return self._at(t).clean(x, prediction)
        of_answer, of_x = self._at(t).to_clean(self.predicts)
        return accumulate(apply(of_x, x), of_answer, prediction)

    def clipped(self, clean: Tensor, clip: Clip) -> Tensor:
        """Clean state whose pixels are clipped."""
        return self.process.lift(clip(self.process.drop(clean)))

    def moved(self, x: Tensor, t: float, eps: Tensor) -> Tensor:
        """State with noise eps, as x has, and the clipped clean state in place of its own."""
        assert self.clip is not None
        at = self._at(t)
        clean = self.clipped(at.clean(x, eps), self.clip)
        return accumulate(apply(at.factor, eps), at.mean, clean)

    def _at(self, t: Tensor | float) -> At:
        """Coefficients at t. Those of single times are kept: a plan asks for them again."""
        if isinstance(t, Tensor):
            return At(self.process, t.double())
        if t not in self._kept:
            self._kept[t] = At(self.process, torch.tensor(t, dtype=torch.float64))
        return self._kept[t]


def _require_prediction(process: Process, predicts: Predicts) -> None:
    """Raise ValueError for a prediction that a process cannot have."""
    if predicts not in ("eps", "x0") and not isinstance(process, Scalar):
        raise ValueError(
            f"{predicts} is defined for processes with numbers as coefficients only; it should be "
            "eps or x0"
        )
    if process.steps is None and not tells(process, process.t_start, predicts):
        raise ValueError(
            f"{predicts} tells nothing at t = {process.t_start:g}, where this process has no "
            "signal; it should be velocity, v or x0"
        )


def tells(process: Process, t: float, predicts: Predicts) -> bool:
    """Whether a prediction tells the clean state at t: eps and edm do not where there is no signal
    (2305.08891, section 3.2).
    """
    return predicts not in NEED_SIGNAL or not silent(process, t)


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
