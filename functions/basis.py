"""Ways to write the probability flow: with answers as noise, as data, or as their difference."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from functions.plan import Basis
from functions.process import Process, Scalar


@dataclass(frozen=True)
class Side:
    """The probability flow of a process with answers in a basis: x_s = carry(t, s) x_t + int_t^s
    answer d(carry(tau, s) gain(tau)).

    "eps": noise; `carry` is the transition of the mean, `gain` the factor of the noise. "x0": data;
    the two change their places. "velocity": noise - data, where coefficients are numbers; `carry`
    is the transition of alpha + sigma, on flow matching 1. Noise needs a signal everywhere, data
    some noise; velocity needs neither. `side_of` chooses.
    """

    process: Process
    basis: Basis

    def carry(self, t: Tensor, s: Tensor) -> Tensor:
        """Coef of the state in a step from t to s without answers."""
        if self.basis == "eps":
            return self.process.psi(t, s)
        return self.process.reversed(t, s, 0.0)

    def gain(self, t: Tensor) -> Tensor:
        """Coef of a right answer in the state at t."""
        return self.process.mean(t) if self.basis == "x0" else self.process.factor(t)

    def transfer(self, t: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
        """Row of DDIM: coefs of the state and of an answer that is held constant."""
        carry = self.carry(t, s)
        return carry, self.gain(s) - carry @ self.gain(t)


@dataclass(frozen=True)
class ScalarSide(Side):
    """The side of a process with numbers as coefficients. Its `clock` is the variable in which the
    flow is d(x/scale) = answer d clock.
    """

    process: Scalar

    def carry(self, t: Tensor, s: Tensor) -> Tensor:
        if self.basis == "velocity":
            return (self.scale(s) / self.scale(t))[..., None, None]
        return super().carry(t, s)

    def scale(self, t: Tensor) -> Tensor:
        """Scale of what is carried, float64, shaped like t: alpha, sigma, or their sum."""
        alpha, sigma = self.process.alpha(t), self.process.sigma(t)
        return {"eps": alpha, "x0": sigma, "velocity": alpha + sigma}[self.basis]

    def clock(self, t: Tensor) -> Tensor:
        """Clock, float64, shaped like t: rho = sigma/alpha, 1/rho, or sigma/(alpha + sigma)."""
        if self.basis == "velocity":
            return self.process.sigma(t) / self.scale(t)
        rho = self.process.rho(t)
        return rho if self.basis == "eps" else 1 / rho

    def time_of(self, clock: Tensor) -> Tensor:
        """Time at a value of the clock."""
        if self.basis == "velocity":
            return self.process.time_of(clock / (1 - clock))
        return self.process.time_of(clock if self.basis == "eps" else 1 / clock)


def silent(process: Process, t: Tensor | float) -> bool:
    """Whether the process has no signal at all at time t."""
    return not process.mean(torch.as_tensor(t, dtype=torch.float64)).any()


def side(process: Process, basis: Basis) -> Side:
    """The side of a process in a basis."""
    return ScalarSide(process, basis) if isinstance(process, Scalar) else Side(process, basis)


def side_of(process: Process, t: Tensor) -> Side:
    """The side on which a walk from time t is finite: noise, but velocity where t has no signal."""
    if not silent(process, t):
        return side(process, "eps")
    return side(process, "velocity" if isinstance(process, Scalar) else "x0")


def scalar_side_of(process: Scalar, t: Tensor) -> ScalarSide:
    """`side_of` for a process with numbers as coefficients."""
    return ScalarSide(process, "velocity" if silent(process, t) else "eps")
