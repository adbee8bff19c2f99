"""CLD: critically damped Langevin diffusion."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from configs.parts import require
from configs.values import Positive
from functions.parts import PROCESSES
from functions.process.base import Process


@PROCESSES.part("cld", title="critically damped Langevin diffusion", paper="2112.07068")
class CLD(Process):
    """Critically damped Langevin diffusion (2112.07068) in the form of gDDIM (2206.05564): every
    pixel has a position and a velocity, time in [0, 1].

    F = beta [[0, 1/M], [-1, -Gamma/M]], G G^T = diag(0, 2 Gamma beta), Gamma = 2 sqrt(M): critical
    damping. Sampling ends at t = 1e-3, training times are drawn from [1e-5, 1], the network
    receives 999 t.

    inverse_mass: 1/M.
    gamma: gamma M is the variance of the velocities at t = 0; R contains it, so training starts
        from (x0, 0).
    parametrisation: square root R of the covariance. "R" solves dR = F R + 1/2 G G^T R^-T (gDDIM);
        "L" is the Cholesky factor, for comparison. R is L times a rotation, whose angle is found
        by quadrature to 1e-12.

    Raises ValueError for options out of range.
    """

    groups = 2

    def __init__(
        self,
        beta: Positive = 4.0,
        inverse_mass: Positive = 4.0,
        gamma: Positive = 0.04,
        parametrisation: Literal["R", "L"] = "R",
    ) -> None:
        require(CLD, beta=beta, inverse_mass=inverse_mass, gamma=gamma)
        require(CLD, parametrisation=parametrisation)
        self.beta, self.root, self.mass = beta, inverse_mass**0.5, 1 / inverse_mass
        self.first = torch.tensor([1e-6, gamma * self.mass + 1e-6], dtype=torch.float64)
        self.parametrisation = parametrisation
        self.steps = None
        self.t_start, self.t_end, self.t_train = 1.0, 1e-3, (1e-5, 1.0)
        self.index_step = 1e-3
        nodes, weights = np.polynomial.legendre.leggauss(16)
        self._gauss = torch.from_numpy((nodes + 1) / 2), torch.from_numpy(weights / 2)
        # panels shrink towards t = 0, where the rate of the angle falls fast
        edges = torch.cat([torch.zeros(1), torch.logspace(-9, 0, 181)]).double()
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
        """Rotation between the two square roots of the covariance: R = L turn."""
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
        """Psihat = R_s Omega R_t^-1, dOmega = lam^2/2 R^-1 G G^T R^-T Omega (2206.05564, eq. 22).

        Magnus' method of fourth order in pieces of equal length in sqrt(t), 256 of them for lam up
        to 1. At the published parameters the error is below 1e-7 there, below 1e-4 for lam up to 5.
        """
        pieces = 2 ** (8 + max(0, math.ceil(2 * math.log2(max(lam, 1.0)))))
        roots = torch.linspace(float(t) ** 0.5, float(s) ** 0.5, pieces + 1, dtype=torch.float64)
        ends = roots**2
        h, places = ends.diff()[:, None, None], (0.5 - 3**0.5 / 6, 0.5 + 3**0.5 / 6)
        left, right = (self._pull(torch.lerp(ends[:-1], ends[1:], c)) for c in places)
        one, two = lam**2 / 2 * h * left, lam**2 / 2 * h * right
        steps = torch.linalg.matrix_exp((one + two) / 2 + 3**0.5 / 12 * (two @ one - one @ two))
        while len(steps) > 1:  # a product of pairs; later pieces stand on the left
            steps = steps[1::2] @ steps[::2]
        square_root = self._cholesky(t) @ self.turn(t)
        return self._cholesky(s) @ self.turn(s) @ steps[0] @ torch.linalg.inv(square_root)

    def _pull(self, t: Tensor) -> Tensor:
        """R^-1 G G^T R^-T."""
        inverse = torch.linalg.inv(self._cholesky(t) @ self.turn(t))
        return inverse @ self.diffusion(t) @ inverse.mT

    def _turned(self, begin: Tensor, end: Tensor) -> Tensor:
        """Angle of the rotation from begin to end: int beta/M sqrt(det Sigma)/Sigma_xx."""
        nodes, weights = (part.to(end.device) for part in self._gauss)
        width = (end - begin)[..., None]
        xx, xv, vv = self._covariance(begin[..., None] + width * nodes)
        rate = self.beta * self.root**2 * torch.sqrt(xx * vv - xv**2) / xx
        return (width * weights * rate).sum(-1)

    def _cholesky(self, t: Tensor) -> Tensor:
        """L with L L^T = Sigma."""
        xx, xv, vv = self._covariance(t)
        low = xv / torch.sqrt(xx)
        return _matrix(torch.sqrt(xx), torch.zeros_like(xx), low, torch.sqrt(vv - low**2))

    def _covariance(self, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Sigma_xx, Sigma_xv, Sigma_vv, in a form without cancellation near t = 0."""
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
        """Position, and velocity in units of its standard deviation at t = 1."""
        position, velocity = x.chunk(2, 1)
        return {"position": position, "velocity": velocity / self.mass**0.5}

    def prior(self, shape: tuple[int, ...], randn: Callable[[Tensor], Tensor]) -> Tensor:
        noise = randn(torch.empty(shape[0], 2 * shape[1], *shape[2:]))
        position, velocity = noise.chunk(2, 1)
        return torch.cat([position, velocity * self.mass**0.5], 1)


def _matrix(a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
    """[[a, b], [c, d]] (*, 2, 2) of numbers (*)."""
    return torch.stack([torch.stack([a, b], -1), torch.stack([c, d], -1)], -2)
