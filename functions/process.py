"""How data turns into noise: `x_t = mean(t) lift(x_0) + factor(t) noise`.

Coefficients ("Coef") are float64 tensors (*t.shape, *S, k, k): S = () and k = 1 for the
variance-preserving processes here. They live on the device of `t`; `apply` acts with them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from functions.plan import apply

__all__ = ["PROCESSES", "VP", "VPSDE", "Process", "apply", "beta_schedule"]


class Process(ABC):
    """A linear diffusion. Attributes every process has:

    t_start, t_end: the times from which and to which sampling walks.
    t_train: (lowest, highest) time of training.
    steps: number of discrete times, None where time is continuous.
    index_step: the length of "one discrete step" in this process' units of time.
    """

    t_start: float
    t_end: float
    t_train: tuple[float, float]
    steps: int | None
    index_step: float

    @abstractmethod
    def mean(self, t: Tensor) -> Tensor:
        """Coef of the clean state in x_t."""

    @abstractmethod
    def psi(self, t: Tensor, s: Tensor) -> Tensor:
        """Coef of the mean's transition from time t to time s."""

    @abstractmethod
    def factor(self, t: Tensor) -> Tensor:
        """R_t with R_t R_t^T = Cov[x_t | x_0]."""

    def network_time(self, t: Tensor) -> Tensor:
        """The time as the network is told it."""
        return t

    def lift(self, x0: Tensor) -> Tensor:
        """Data -> state."""
        return x0

    def drop(self, x: Tensor) -> Tensor:
        """State -> data."""
        return x

    def perturb(self, x0: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        """Draw x_t: x0 (B, C, H, W) data, t (B,) times, noise shaped like the state."""
        return apply(self.mean(t), self.lift(x0)) + apply(self.factor(t), noise)

    def prior(self, shape: tuple[int, ...], randn: Callable[[Tensor], Tensor]) -> Tensor:
        """The state where sampling starts, for data of `shape`; randn draws like its argument."""
        return randn(torch.empty(shape))


class VariancePreserving(Process):
    """alpha_t^2 + sigma_t^2 = 1, both from log abar(t)."""

    @abstractmethod
    def log_abar(self, t: Tensor) -> Tensor:
        """Log of the cumulative signal power at t, float64, shaped like t."""

    def alpha(self, t: Tensor) -> Tensor:
        """Signal scale, float64, shaped like t."""
        return torch.exp(0.5 * self.log_abar(t))

    def sigma(self, t: Tensor) -> Tensor:
        """Noise scale, float64, shaped like t."""
        return torch.sqrt(-torch.expm1(self.log_abar(t)))

    def rho(self, t: Tensor) -> Tensor:
        """sigma/alpha, float64, shaped like t: 0 at the clean end."""
        return torch.sqrt(torch.expm1(-self.log_abar(t)))

    @abstractmethod
    def time_of(self, rho: Tensor) -> Tensor:
        """The time at which sigma/alpha is `rho`, float64, shaped like it: the inverse of rho."""

    def mean(self, t: Tensor) -> Tensor:
        return self.alpha(t)[..., None, None]

    def psi(self, t: Tensor, s: Tensor) -> Tensor:
        return torch.exp(0.5 * (self.log_abar(s) - self.log_abar(t)))[..., None, None]

    def factor(self, t: Tensor) -> Tensor:
        return self.sigma(t)[..., None, None]


class VP(VariancePreserving):
    """The discrete variance-preserving process of DDPM (Ho et al. 2020, eq. 2 and 4).

    Time is the index: t = i is abar[i], i = 0..steps-1, and t = -1 is clean data; between indices
    log abar is interpolated linearly. Raises ValueError for an unknown schedule or betas outside
    (0, 1].
    """

    def __init__(
        self,
        schedule: str = "linear",
        beta_start: float = 1e-4,
        beta_end: float = 0.02,
        steps: int = 1000,
    ) -> None:
        betas = torch.from_numpy(beta_schedule(schedule, beta_start, beta_end, steps))
        log_abar = torch.log1p(-betas).cumsum(0)
        self._tables = {torch.device("cpu"): torch.cat([torch.zeros(1).double(), log_abar])}
        self.betas = betas
        self.steps = steps
        self.t_start, self.t_end, self.t_train = steps - 1.0, -1.0, (0.0, steps - 1.0)
        self.index_step = 1.0

    def log_abar(self, t: Tensor) -> Tensor:
        if t.device not in self._tables:
            self._tables[t.device] = self._tables[torch.device("cpu")].to(t.device)
        table = self._tables[t.device]
        position = t.double() + 1
        if t.device.type == "cpu" and bool(((position < 0) | (position > len(table) - 1)).any()):
            raise ValueError(f"time outside [-1, {len(table) - 2}]: {t.min():g} .. {t.max():g}")
        low = position.floor()
        weight, low = position - low, low.long()
        left, right = table[low], table[(low + 1).clamp(max=len(table) - 1)]
        # where() keeps an exact table value exact next to an infinite one (schedule jsd)
        return torch.where(weight == 0, left, left + weight * (right - left))

    def time_of(self, rho: Tensor) -> Tensor:
        table, log_abar = -self._tables[torch.device("cpu")], torch.log1p(rho.double().cpu() ** 2)
        right = torch.searchsorted(table, log_abar).clamp(1, len(table) - 1)
        weight = (log_abar - table[right - 1]) / (table[right] - table[right - 1])
        return (right - 2 + weight.clamp(0, 1)).to(rho.device)


class VPSDE(VariancePreserving):
    """The continuous variance-preserving SDE of Song et al. 2021 (eq. 29), time in [0, 1].

    log abar(t) = -t^2 (beta_max - beta_min)/2 - t beta_min. Sampling ends at t = 1e-3, training
    times are drawn from [1e-5, 1], the network is told 999 t.
    """

    def __init__(self, beta_min: float = 0.1, beta_max: float = 20.0) -> None:
        if not 0 < beta_min <= beta_max:
            raise ValueError(f"needs 0 < beta_min <= beta_max, not {beta_min:g} and {beta_max:g}")
        self.beta_min, self.beta_max = beta_min, beta_max
        self.steps = None
        self.t_start, self.t_end, self.t_train = 1.0, 1e-3, (1e-5, 1.0)
        self.index_step = 1e-3

    def log_abar(self, t: Tensor) -> Tensor:
        t = t.double()
        return -0.5 * t**2 * (self.beta_max - self.beta_min) - t * self.beta_min

    def time_of(self, rho: Tensor) -> Tensor:
        depth, slope = 2 * torch.log1p(rho.double() ** 2), self.beta_max - self.beta_min
        return depth / (torch.sqrt(self.beta_min**2 + slope * depth) + self.beta_min)

    def network_time(self, t: Tensor) -> Tensor:
        return 999 * t


def beta_schedule(name: str, beta_start: float, beta_end: float, steps: int) -> np.ndarray:
    """Betas (steps,) in float64. linear, quad, const, jsd and sigmoid are the DDIM repository's;
    cosine is Nichol & Dhariwal 2021 (eq. 17), whose betas are capped at 0.999.
    """
    if name not in _SCHEDULES:
        raise ValueError(f"unknown beta schedule {name!r}; known: {', '.join(_SCHEDULES)}")
    if steps < 1:
        raise ValueError(f"a schedule needs at least one step, not {steps}")
    betas = np.asarray(_SCHEDULES[name](beta_start, beta_end, steps), dtype=np.float64)
    if not ((betas > 0) & (betas <= 1)).all():
        raise ValueError(f"schedule {name}: betas must lie in (0, 1]")
    return betas


def _cosine(_start: float, _end: float, n: int) -> np.ndarray:
    f = np.cos((np.arange(n + 1) / n + 0.008) / 1.008 * np.pi / 2) ** 2
    return np.minimum(1 - f[1:] / f[:-1], 0.999)


def _sigmoid(start: float, end: float, n: int) -> np.ndarray:
    return (end - start) / (1 + np.exp(-np.linspace(-6, 6, n))) + start


_SCHEDULES: dict[str, Callable[[float, float, int], np.ndarray]] = {
    "linear": lambda start, end, n: np.linspace(start, end, n),
    "quad": lambda start, end, n: np.linspace(start**0.5, end**0.5, n) ** 2,
    "const": lambda _start, end, n: np.full(n, end),
    "jsd": lambda _start, _end, n: 1.0 / np.linspace(n, 1, n),
    "sigmoid": _sigmoid,
    "cosine": _cosine,
}

PROCESSES: dict[str, Callable[..., Process]] = {"vp": VP, "vpsde": VPSDE}
