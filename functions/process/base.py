"""Base classes of the processes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor

from functions.plan import apply


class Process(ABC):
    """A linear diffusion du = F u dt + G dw. Every process sets:

    t_start, t_end: times from which and to which sampling walks.
    t_train: (lowest, highest) time of training.
    steps: number of discrete times, None where time is continuous.
    index_step: length of one discrete step in the units of this process' time.
    groups: channels of the state per channel of the data.
    """

    t_start: float
    t_end: float
    t_train: tuple[float, float]
    steps: int | None
    index_step: float
    groups: int = 1

    @property
    def t_last(self) -> float:
        """Lowest time at which sampling asks a network. Where it lies above t_end, the step from
        there to t_end leads to clean data.
        """
        return max(self.t_train[0], self.t_end)

    def time_at(self, share: Tensor) -> Tensor:
        """Time at a share of the training times, 0 the lowest and 1 the highest. Uniform densities,
        quartiles and bins of the training times are even in this share.
        """
        low, high = self.t_train
        return low + (high - low) * share

    def share_of(self, t: Tensor) -> Tensor:
        """Inverse of `time_at`."""
        low, high = self.t_train
        return (t - low) / (high - low)

    def mirrored(self, t: Tensor) -> Tensor:
        """Time at one minus the share of t."""
        low, high = self.t_train
        return low + high - t

    @abstractmethod
    def mean(self, t: Tensor) -> Tensor:
        """Coef of the clean state in x_t."""

    @abstractmethod
    def psi(self, t: Tensor, s: Tensor) -> Tensor:
        """Coef of the mean's transition from time t to time s."""

    @abstractmethod
    def factor(self, t: Tensor) -> Tensor:
        """R_t with R_t R_t^T = Cov[x_t | x_0]."""

    @abstractmethod
    def drift(self, t: Tensor) -> Tensor:
        """Coef F at time t."""

    @abstractmethod
    def diffusion(self, t: Tensor) -> Tensor:
        """Coef G G^T at time t."""

    def reversed(self, t: Tensor, s: Tensor, lam: float) -> Tensor:
        """Psihat(t -> s), s < t: transition of the mean in the reverse-time process that has the
        same marginals and lam^2 of the reverse SDE's noise (gDDIM, 2206.05564, eq. 22). lam = 0
        gives R_s R_t^-1. This implementation is for coefficients that are numbers.
        """
        at_s, at_t = self.factor(s), self.factor(t)
        return (at_s / (self.psi(t, s) * at_t)) ** lam**2 * at_s / at_t

    def rate(self, tau: Tensor, s: Tensor) -> Tensor | None:
        """dK/dtau of K = int Psi(tau -> s) 1/2 G G^T factor^-T; None where K is Psi factor."""
        return None

    def network_time(self, t: Tensor) -> Tensor:
        """Time as the network receives it."""
        return t

    def to_network(self, x: Tensor) -> Tensor:
        """State as the network receives it."""
        return x

    def from_network(self, answer: Tensor) -> Tensor:
        """Answer of the network as a state."""
        return answer

    def lift(self, x0: Tensor) -> Tensor:
        """State of data x0."""
        return x0

    def drop(self, x: Tensor) -> Tensor:
        """Data of state x."""
        return x

    def views(self, x: Tensor) -> dict[str, Tensor]:
        """Images (B, C, H, W) of state x, each under its name; -1 is black, 1 is white."""
        return {"image": self.drop(x)}

    def noise(self, x0: Tensor) -> Tensor:
        """Draw standard normal noise shaped like the state of data x0."""
        return torch.randn_like(x0 if self.groups == 1 else torch.cat([x0] * self.groups, 1))

    def perturb(self, x0: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        """Draw x_t. x0: data (B, C, H, W); t: times (B,); noise: shaped like the state."""
        return apply(self.mean(t), self.lift(x0)) + apply(self.factor(t), noise)

    def prior(self, shape: tuple[int, ...], randn: Callable[[Tensor], Tensor]) -> Tensor:
        """Draw the state where sampling starts. shape: of the data; randn: draws noise shaped like
        its argument.
        """
        return randn(torch.empty(shape))


class Scalar(Process):
    """A process with numbers as coefficients, x_t = alpha_t x_0 + sigma_t noise. It says alpha,
    sigma, their slopes and `time_of`; everything else follows.

    sigma_data: standard deviation of data that EDM's preconditioning and weight assume.
    levels: first and last time between which sigma/alpha is above 0 and finite: time grids that are
        even in a function of it are even between these, and still begin at t_start.
    """

    sigma_data: float = 0.5

    @property
    def levels(self) -> tuple[float, float]:
        return self.t_start, self.t_last

    @abstractmethod
    def alpha(self, t: Tensor) -> Tensor:
        """Signal scale, float64, shaped like t."""

    @abstractmethod
    def sigma(self, t: Tensor) -> Tensor:
        """Noise scale, float64, shaped like t."""

    @abstractmethod
    def slopes(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """d alpha/dt and d sigma/dt, float64, shaped like t."""

    @abstractmethod
    def time_of(self, rho: Tensor) -> Tensor:
        """Time at which sigma/alpha is `rho`, float64, shaped like it: the inverse of `rho`."""

    def rho(self, t: Tensor) -> Tensor:
        """sigma/alpha, float64, shaped like t: 0 at the clean end, infinite without signal."""
        return self.sigma(t) / self.alpha(t)

    def mean(self, t: Tensor) -> Tensor:
        return self.alpha(t)[..., None, None]

    def psi(self, t: Tensor, s: Tensor) -> Tensor:
        return (self.alpha(s) / self.alpha(t))[..., None, None]

    def factor(self, t: Tensor) -> Tensor:
        return self.sigma(t)[..., None, None]

    def drift(self, t: Tensor) -> Tensor:
        return (self.slopes(t)[0] / self.alpha(t))[..., None, None]

    def diffusion(self, t: Tensor) -> Tensor:
        # d sigma^2/dt = 2 F sigma^2 + G^2
        of_alpha, of_sigma = self.slopes(t)
        sigma = self.sigma(t)
        spread = 2 * sigma * (of_sigma - of_alpha / self.alpha(t) * sigma)
        return spread[..., None, None]

    def reversed(self, t: Tensor, s: Tensor, lam: float) -> Tensor:
        # also where t has no signal (rho infinite), and over no distance at the clean end
        kept = self.sigma(s) / self.sigma(t) * (self.rho(s) / self.rho(t)) ** lam**2
        return torch.where(t == s, 1.0, kept)[..., None, None]


class VariancePreserving(Scalar):
    """A scalar process with alpha_t^2 + sigma_t^2 = 1: `log_abar`, `beta`, `time_of` tell all."""

    @abstractmethod
    def log_abar(self, t: Tensor) -> Tensor:
        """Log of the cumulative signal power at t, float64, shaped like t."""

    @abstractmethod
    def beta(self, t: Tensor) -> Tensor:
        """-d log abar/dt, float64, shaped like t."""

    def alpha(self, t: Tensor) -> Tensor:
        return torch.exp(0.5 * self.log_abar(t))

    def sigma(self, t: Tensor) -> Tensor:
        return torch.sqrt(-torch.expm1(self.log_abar(t)))

    def rho(self, t: Tensor) -> Tensor:
        return torch.sqrt(torch.expm1(-self.log_abar(t)))

    def slopes(self, t: Tensor) -> tuple[Tensor, Tensor]:
        alpha, beta = self.alpha(t), self.beta(t)
        return -0.5 * beta * alpha, 0.5 * beta * alpha**2 / self.sigma(t)

    def psi(self, t: Tensor, s: Tensor) -> Tensor:
        return torch.exp(0.5 * (self.log_abar(s) - self.log_abar(t)))[..., None, None]

    def drift(self, t: Tensor) -> Tensor:
        return -0.5 * self.beta(t)[..., None, None]

    def diffusion(self, t: Tensor) -> Tensor:
        return self.beta(t)[..., None, None]
