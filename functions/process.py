"""How data turns into noise: `x_t = mean(t) lift(x_0) + factor(t) noise`.

Coefficients ("Coef") are float64 tensors (*t.shape, *S, k, k): S = () and k = 1 for the
variance-preserving processes here. They live on the device of `t`; `apply` acts with them.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from functions.plan import apply

__all__ = ["CLD", "PROCESSES", "VP", "VPSDE", "Blur", "Process", "apply", "beta_schedule"]


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
    groups: int = 1  # channels of the state per channel of the data

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
        """F of the process du = F u dt + G dw."""

    @abstractmethod
    def diffusion(self, t: Tensor) -> Tensor:
        """G G^T of the process."""

    def reversed(self, t: Tensor, s: Tensor, lam: float) -> Tensor:
        """Psihat(t -> s): the mean's transition in reverse time, s < t, of the process that has the
        same marginals and lam^2 of the reverse SDE's noise (gDDIM, 2206.05564, eq. 22); lam = 0 is
        R_s R_t^-1. This one is for coefficients that are numbers.
        """
        at_s, at_t = self.factor(s), self.factor(t)
        return (at_s / (self.psi(t, s) * at_t)) ** lam**2 * at_s / at_t

    def rate(self, tau: Tensor, s: Tensor) -> Tensor | None:
        """dK/dtau of K = int Psi(tau -> s) 1/2 G G^T factor^-T; None where K is Psi factor."""
        return None

    def network_time(self, t: Tensor) -> Tensor:
        """The time as the network is told it."""
        return t

    def to_network(self, x: Tensor) -> Tensor:
        """A state as the network is shown it."""
        return x

    def from_network(self, answer: Tensor) -> Tensor:
        """What the network said, as a state."""
        return answer

    def lift(self, x0: Tensor) -> Tensor:
        """Data -> state."""
        return x0

    def drop(self, x: Tensor) -> Tensor:
        """State -> data."""
        return x

    def views(self, x: Tensor) -> dict[str, Tensor]:
        """A state as pictures (B, C, H, W), by what they show; [-1, 1] is black to white."""
        return {"image": self.drop(x)}

    def noise(self, x0: Tensor) -> Tensor:
        """Standard normal noise shaped like the state of data x0."""
        return torch.randn_like(x0 if self.groups == 1 else torch.cat([x0] * self.groups, 1))

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

    @abstractmethod
    def beta(self, t: Tensor) -> Tensor:
        """-d log abar/dt, float64, shaped like t."""

    def drift(self, t: Tensor) -> Tensor:
        return -0.5 * self.beta(t)[..., None, None]

    def diffusion(self, t: Tensor) -> Tensor:
        return self.beta(t)[..., None, None]


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

    def beta(self, t: Tensor) -> Tensor:
        return self.log_abar(torch.ceil(t) - 1) - self.log_abar(torch.ceil(t))

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

    def beta(self, t: Tensor) -> Tensor:
        return self.beta_min + t.double() * (self.beta_max - self.beta_min)

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


class CLD(Process):
    """Critically damped Langevin diffusion (Dockhorn et al. 2022, 2112.07068), as gDDIM has it
    (Zhang et al. 2022, 2206.05564): every pixel is a pair of position and velocity, time in [0, 1].

    F = beta [[0, 1/M], [-1, -Gamma/M]], G G^T = diag(0, 2 Gamma beta), Gamma = 2 sqrt(M): critical.
    inverse_mass is 1/M; gamma M is the variance of the first velocities, which lies in R, so that
    training starts from (x0, 0). parametrisation: "R" solves dR = F R + 1/2 G G^T R^-T, gDDIM's;
    "L" is the Cholesky factor of the covariance, for the paper's comparison. R is found once, from
    the angle between the two, by quadrature to 1e-12. Sampling ends at t = 1e-3, training times are
    drawn from [1e-5, 1], the network is told 999 t. Raises ValueError for numbers not above 0.
    """

    groups = 2

    def __init__(
        self,
        beta: float = 4.0,
        inverse_mass: float = 4.0,
        gamma: float = 0.04,
        parametrisation: Literal["R", "L"] = "R",
    ) -> None:
        if not min(beta, inverse_mass, gamma) > 0:
            raise ValueError(
                f"beta {beta:g}, inverse_mass {inverse_mass:g}, gamma {gamma:g} should be above 0"
            )
        if parametrisation not in ("R", "L"):
            raise ValueError(f"parametrisation is R or L, not {parametrisation!r}")
        self.beta, self.root, self.mass = beta, inverse_mass**0.5, 1 / inverse_mass
        self.first = torch.tensor([1e-6, gamma * self.mass + 1e-6], dtype=torch.float64)
        self.parametrisation = parametrisation
        self.steps = None
        self.t_start, self.t_end, self.t_train = 1.0, 1e-3, (1e-5, 1.0)
        self.index_step = 1e-3
        nodes, weights = np.polynomial.legendre.leggauss(16)
        self._gauss = torch.from_numpy((nodes + 1) / 2), torch.from_numpy(weights / 2)
        edges = torch.cat([torch.zeros(1), torch.logspace(-9, 0, 181)]).double()  # falls near 0
        panels = self._turned(edges[:-1], edges[1:]).cumsum(0)
        self._edges, self._angles = edges, torch.cat([torch.zeros(1).double(), panels])

    def mean(self, t: Tensor) -> Tensor:
        return self.psi(torch.zeros_like(t), t)

    def psi(self, t: Tensor, s: Tensor) -> Tensor:
        tau = self.beta * (s.double() - t.double())
        z = self.root * tau
        rows = [1 + z, self.root**2 * tau, -tau, 1 - z]
        return torch.exp(-z)[..., None, None] * _matrix(*rows)

    def factor(self, t: Tensor) -> Tensor:
        t = t.double()
        cholesky = self._cholesky(t)
        if self.parametrisation == "L":
            return cholesky
        return cholesky @ self.turn(t)

    def turn(self, t: Tensor) -> Tensor:
        """The rotation between the two square roots of the covariance: R = L turn."""
        edges, angles = self._edges.to(t.device), self._angles.to(t.device)
        panel = (torch.searchsorted(edges, t.contiguous(), right=True) - 1).clamp(0, len(edges) - 1)
        angle = angles[panel] + self._turned(edges[panel], t)
        return _matrix(torch.cos(angle), torch.sin(angle), -torch.sin(angle), torch.cos(angle))

    def drift(self, t: Tensor) -> Tensor:
        rows = [[0.0, self.root**2], [-1.0, -2 * self.root]]
        return self.beta * torch.tensor(rows, dtype=torch.float64).expand(*t.shape, 2, 2)

    def diffusion(self, t: Tensor) -> Tensor:
        rows = [[0.0, 0.0], [0.0, 4 * self.beta / self.root]]
        return torch.tensor(rows, dtype=torch.float64).expand(*t.shape, 2, 2)

    def rate(self, tau: Tensor, s: Tensor) -> Tensor | None:
        if self.parametrisation == "R":
            return None
        inverse = torch.linalg.inv(self.factor(tau)).mT
        return self.psi(tau, s) @ self.diffusion(tau) @ inverse / 2

    def reversed(self, t: Tensor, s: Tensor, lam: float) -> Tensor:
        """Psihat = R_s Omega R_t^-1, dOmega = lam^2/2 R^-1 G G^T R^-T Omega: Magnus' method of
        fourth order in pieces that are even in the root of t, 256 for lam up to 1. At the published
        parameters the error is below 1e-7 there, below 1e-4 for lam up to 5.
        """
        pieces = 2 ** (8 + max(0, math.ceil(2 * math.log2(max(lam, 1.0)))))
        roots = torch.linspace(float(t) ** 0.5, float(s) ** 0.5, pieces + 1, dtype=torch.float64)
        ends = roots**2
        h, places = ends.diff()[:, None, None], (0.5 - 3**0.5 / 6, 0.5 + 3**0.5 / 6)
        left, right = (self._pull(torch.lerp(ends[:-1], ends[1:], c)) for c in places)
        one, two = lam**2 / 2 * h * left, lam**2 / 2 * h * right
        steps = torch.linalg.matrix_exp((one + two) / 2 + 3**0.5 / 12 * (two @ one - one @ two))
        while len(steps) > 1:  # later pieces to the left
            steps = steps[1::2] @ steps[::2]
        square_root = self._cholesky(t) @ self.turn(t)
        return self._cholesky(s) @ self.turn(s) @ steps[0] @ torch.linalg.inv(square_root)

    def _pull(self, t: Tensor) -> Tensor:
        inverse = torch.linalg.inv(self._cholesky(t) @ self.turn(t))
        return inverse @ self.diffusion(t) @ inverse.mT

    def _turned(self, begin: Tensor, end: Tensor) -> Tensor:
        """int beta/M sqrt(det Sigma)/Sigma_xx from begin to end."""
        nodes, weights = (part.to(end.device) for part in self._gauss)
        width = (end - begin)[..., None]
        xx, xv, vv = self._covariance(begin[..., None] + width * nodes)
        rate = self.beta * self.root**2 * torch.sqrt(xx * vv - xv**2) / xx
        return (width * weights * rate).sum(-1)

    def _cholesky(self, t: Tensor) -> Tensor:
        xx, xv, vv = self._covariance(t)
        low = xv / torch.sqrt(xx)
        return _matrix(torch.sqrt(xx), torch.zeros_like(xx), low, torch.sqrt(vv - low**2))

    def _covariance(self, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Sigma_xx, Sigma_xv, Sigma_vv, without cancellation near t = 0."""
        z = self.root * self.beta * t
        y = 2 * z
        psi, first = self.psi(torch.zeros_like(t), t), self.first.to(t.device)
        own = (psi * first) @ psi.mT
        grown = torch.special.gammainc(torch.full_like(y, 3.0), y)  # 1 - e^-y (1 + y + y^2/2)
        fall = torch.exp(-y)
        xv = 2 * fall * z**2 / self.root
        vv = self.mass * (grown + 4 * z * fall)
        return own[..., 0, 0] + grown, own[..., 0, 1] + xv, own[..., 1, 1] + vv

    def network_time(self, t: Tensor) -> Tensor:
        return 999 * t

    def lift(self, x0: Tensor) -> Tensor:
        return torch.cat([x0, torch.zeros_like(x0)], 1)

    def drop(self, x: Tensor) -> Tensor:
        return x[:, : x.shape[1] // 2]

    def views(self, x: Tensor) -> dict[str, Tensor]:
        """Position, and velocity in units of its deviation at the end of time."""
        position, velocity = x.chunk(2, 1)
        return {"position": position, "velocity": velocity / self.mass**0.5}

    def prior(self, shape: tuple[int, ...], randn: Callable[[Tensor], Tensor]) -> Tensor:
        noise = randn(torch.empty(shape[0], 2 * shape[1], *shape[2:]))
        position, velocity = noise.chunk(2, 1)
        return torch.cat([position, velocity * self.mass**0.5], 1)


class Blur(Process):
    """Blurring diffusion (Hoogeboom & Salimans 2022, 2209.05557), as gDDIM has it: in the
    orthonormal DCT basis every frequency fades at a rate of its own; time in [0, 1].

    image_size: pixels, one number or (H, W). blur_max: largest standard deviation of the blur in
    pixels; min_scale: what is left of the highest frequencies. States live in DCT space, the
    network in pixels. Sampling walks from the t where sigma/alpha is 80 to 1e-5, training times are
    drawn from [1e-5, 1], the network is told 999 t. Raises ValueError for sizes below 1.
    """

    def __init__(
        self,
        image_size: int | tuple[int, int],
        blur_max: float = 10.0,
        min_scale: float = 1e-3,
    ) -> None:
        size = (image_size, image_size) if isinstance(image_size, int) else tuple(image_size)
        if len(size) != 2 or min(size) < 1:
            raise ValueError(f"image_size is one or two numbers of at least 1, not {image_size}")
        if not (blur_max >= 0 and 0 < min_scale <= 1):
            raise ValueError(
                f"needs blur_max >= 0 and 0 < min_scale <= 1, not {blur_max:g} and {min_scale:g}"
            )
        self.blur_max, self.min_scale = blur_max, min_scale
        rows, columns = (torch.pi * torch.arange(n, dtype=torch.float64) / n for n in size)
        self.frequencies = rows[:, None] ** 2 + columns**2  # (H, W)
        self.bases = tuple(_dct_basis(n) for n in size)
        self.steps = None
        least = self._abar(torch.zeros(()).double())
        rho = 80.0 + torch.sqrt(
            1 - least
        )  # the DDPM-like clock of the reference, from its rho = 80
        deepest = torch.arccos(torch.sqrt(least / (rho**2 + least)))
        self.t_start, self.t_end = float(deepest * 2 / torch.pi * 1.008 - 0.004), 1e-5
        self.t_train, self.index_step = (1e-5, 1.0), 1e-3

    def mean(self, t: Tensor) -> Tensor:
        t = t.double()[..., None, None]
        fade = torch.exp(-self.frequencies.to(t.device) * self._blurred(t))
        kept = self.min_scale + (1 - self.min_scale) * fade
        return (torch.sqrt(self._abar(t)) * kept)[..., None, None]

    def psi(self, t: Tensor, s: Tensor) -> Tensor:
        return self.mean(s) / self.mean(t)

    def factor(self, t: Tensor) -> Tensor:
        return torch.sqrt(1 - self._abar(t.double())).expand(t.shape)[..., None, None, None, None]

    def drift(self, t: Tensor) -> Tensor:
        fall, fade = self._slopes(t)
        return (-fall / 2 + fade)[..., None, None]

    def diffusion(self, t: Tensor) -> Tensor:
        fall, fade = self._slopes(t)
        return (fall - 2 * (1 - self._abar(t.double()[..., None, None])) * fade)[..., None, None]

    def _slopes(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """-d log abar/dt and d log D/dt (*t.shape, H, W)."""
        t = t.double()[..., None, None]
        fall = torch.pi / 1.008 * torch.tan(torch.pi / 2 * (t + 0.004) / 1.008)
        blur, frequencies = self._blurred(t), self.frequencies.to(t.device)
        growth = self.blur_max**2 * torch.sin(torch.pi * t / 2) ** 3 * torch.cos(torch.pi * t / 2)
        fade = (1 - self.min_scale) * torch.exp(-frequencies * blur)
        return fall, -frequencies * torch.pi * growth * fade / (self.min_scale + fade)

    def _blurred(self, t: Tensor) -> Tensor:
        """The dissipation time: half the variance of the blur."""
        return (self.blur_max * torch.sin(torch.pi * t / 2) ** 2) ** 2 / 2

    def network_time(self, t: Tensor) -> Tensor:
        return 999 * t

    def lift(self, x0: Tensor) -> Tensor:
        rows, columns = (basis.to(x0.device) for basis in self.bases)
        return (rows @ x0.double() @ columns.T).to(x0)  # so that autocast and TF32 leave it alone

    def drop(self, x: Tensor) -> Tensor:
        rows, columns = (basis.to(x.device) for basis in self.bases)
        return (rows.T @ x.double() @ columns).to(x)

    def views(self, x: Tensor) -> dict[str, Tensor]:
        """Pixels, and the size of every frequency: 0.1 is black, 1 (pure noise) grey, 10 white;
        the mean is at the top left.
        """
        return {"pixels": self.drop(x), "spectrum": torch.log10(x.abs().clamp(0.1, 10))}

    def to_network(self, x: Tensor) -> Tensor:
        return self.drop(x)

    def from_network(self, answer: Tensor) -> Tensor:
        return self.lift(answer)

    @staticmethod
    def _abar(t: Tensor) -> Tensor:
        return torch.cos(torch.pi / 2 * (t + 0.004) / 1.008) ** 2


def _matrix(a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
    """[[a, b], [c, d]] (*, 2, 2) of numbers (*)."""
    return torch.stack([torch.stack([a, b], -1), torch.stack([c, d], -1)], -2)


def _dct_basis(n: int) -> Tensor:
    """The orthonormal DCT-II as a matrix (n, n): row k is cos(pi k (i + 1/2)/n), normalised."""
    k, i = torch.arange(n, dtype=torch.float64)[:, None], torch.arange(n, dtype=torch.float64)
    basis = torch.cos(torch.pi * k * (i + 0.5) / n) * (2 / n) ** 0.5
    basis[0] /= 2**0.5
    return basis


PROCESSES: dict[str, Callable[..., Process]] = {"vp": VP, "vpsde": VPSDE, "cld": CLD, "blur": Blur}
