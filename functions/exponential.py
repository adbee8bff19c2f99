"""Rows of the multistep samplers: `B_j = int_t^s l_j(u(tau)) dK(tau)`.

K holds everything known in closed form; l_j are the Lagrange polynomials in a variable u through
the times of the last evaluations. With `w = (u - u_t)/(u_s - u_t)`, B_j is a combination of the
moments `M_k = int_0^1 w^k dK`. By parts `M_k = K(1) - k int_0^1 w^(k-1) K dw` for k > 0, so only
values of K are needed, numbers or matrices.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from functions.basis import ScalarSide, Side
from functions.process import Process, Scalar

InLambda = Literal["x0", "eps"]  # what is a polynomial in lambda

_V, _WEIGHTS = (torch.from_numpy(part) for part in np.polynomial.legendre.leggauss(48))
_V, _WEIGHTS = (_V + 1) / 2, _WEIGHTS / 2  # Gauss-Legendre on [0, 1]


def moments(K: Callable[[Tensor], Tensor], count: int, cuts: Tensor | None = None) -> list[Tensor]:
    """Moments [M_0, ..., M_(count-1)] of K: (n,) -> (n, *S, k, k).

    cuts: increasing, from 0 to 1; K is smooth between them, except for a square root at the end of
    a panel (the clean end).
    """
    first, last = K(torch.tensor([0.0, 1.0], dtype=torch.float64))
    found = [last - first]
    if count > 1:
        ends = torch.tensor([0.0, 1.0], dtype=torch.float64) if cuts is None else cuts
        width = ends.diff()[:, None]
        w = (ends[1:, None] - width * _V**2).flatten()  # v^2 makes the square root smooth
        weights, values = (2 * width * _V * _WEIGHTS).flatten(), K(w)
        for k in range(1, count):
            found.append(last - k * torch.tensordot(weights * w ** (k - 1), values, dims=1))
    return found


def lagrange(moments: Sequence[Tensor], w: Tensor) -> list[Tensor]:
    """Weights [B_0, ..., B_q] of evaluations at the places w (q + 1,), from q + 1 moments."""
    inverse = torch.linalg.inv(torch.vander(w, increasing=True))  # monomials from values
    rows = torch.stack(list(moments))
    return list(torch.tensordot(inverse, rows, dims=([0], [0])))


def in_time(side: Side, times: Tensor, s: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Row (A, [B_j]) of a step from times[0] to s with evaluations at `times`, newest first; u = t.

    DEIS tAB (2204.13902, eq. 15); on matrices gDDIM (2206.05564, eq. 19).
    """
    process, t = side.process, times[0]
    w = (times - t) / (s - t)

    def transported(w: Tensor) -> Tensor:
        tau = torch.lerp(t, s, w)
        return side.carry(tau, s) @ side.gain(tau)

    rates = process.rate(torch.lerp(t, s, 1 - _V**2), s)
    if rates is None:
        found = moments(transported, len(times), _knots(process, t, s))
    else:
        powers = [2 * _V * _WEIGHTS * (1 - _V**2) ** k for k in range(len(times))]
        found = [(s - t) * torch.tensordot(power, rates, dims=1) for power in powers]
    return side.carry(t, s), lagrange(found, w)


def in_clock(side: ScalarSide, times: Tensor, s: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Row as of `in_time` with u the side's clock, where K is linear and every integral is a
    polynomial: DEIS rhoAB (2204.13902) with noise as answers, whose clock is rho = sigma/alpha.

    Where the clock is infinite, only one time may be given.
    """
    if len(times) == 1:
        A, B = side.transfer(times[0], s)
        return A, [B]
    u, end, scale = side.clock(times), side.clock(s), side.scale(s)
    w, h = (u - u[0]) / (end - u[0]), end - u[0]
    exact = [(scale * h / (k + 1)).view(1, 1) for k in range(len(times))]
    return side.carry(times[0], s), lagrange(exact, w)


def in_lambda(
    process: Scalar,
    times: Tensor,
    s: Tensor,
    basis: InLambda = "eps",
    rate: float = 1.0,
    adapt: Callable[[list[Tensor], Tensor], list[Tensor]] | None = None,
) -> tuple[Tensor, list[Tensor]]:
    """Row as of `in_time` with u = lambda = log(alpha/sigma): DPM-Solver (2206.00927, eq. 3.4) for
    basis "eps", DPM-Solver++ (2211.01095, eq. 9) for "x0".

    At the clean end, and where there is no signal, lambda is infinite: a step to or from there
    takes one time only.

    rate: 1 for the ODE, 1 + lam^2 with lam^2 of the noise of DPM-Solver++'s SDE.
    adapt(moments, h): the moments as a paper approximates them, h = lambda_s - lambda_t.
    """
    rho, end, alpha = process.rho(times), process.rho(s), process.alpha(s)
    lam = -torch.log(rho)
    h = -torch.log(end) - lam[0]
    if basis == "eps":
        A, first = process.psi(times[0], s), alpha * (end - rho[0])
        scale, speed = process.sigma(s), -1.0
    else:
        A = process.reversed(times[0], s, math.sqrt(rate - 1))
        first, scale, speed = -alpha * torch.expm1(-rate * h), alpha, rate
    found = [first.view(1, 1)]
    if len(times) > 1:
        found = moments(
            lambda w: (scale * torch.exp(speed * (w - 1) * h)).view(-1, 1, 1), len(times)
        )
    found = adapt(found, h) if adapt else found
    return A, lagrange(found, (lam - lam[0]) / h)


def _knots(process: Process, t: Tensor, s: Tensor) -> Tensor | None:
    """Places in [0, 1] where a tabulated noise schedule has kinks between t and s."""
    if process.steps is None:
        return None
    inner = torch.arange(math.ceil(t) - 1, math.floor(s), -1, dtype=torch.float64)
    ends = torch.cat([t.view(1), inner[(inner < t) & (inner > s)], s.view(1)])
    return (ends - t) / (s - t)
