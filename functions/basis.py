"""The two ways to write the probability flow: with answers as noise, or as data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from functions.process import Process, Scalar

Basis = Literal["x0", "eps"]


@dataclass(frozen=True)
class Side:
    """The probability flow of a process, with answers as noise ("eps") or as data ("x0"):
    x_s = carry(t, s) x_t + int_t^s answer d(carry(tau, s) gain(tau)).

    With noise as answers, `carry` is the transition of the mean and `gain` the factor of the noise;
    with data the two change their places. With noise nothing may happen where there is no signal,
    with data nothing where there is no noise: `side_of` chooses.
    """

    process: Process
    basis: Basis

    def carry(self, t: Tensor, s: Tensor) -> Tensor:
        """Coef of the state in a step from t to s without answers."""
        noise = self.basis == "eps"
        return self.process.psi(t, s) if noise else self.process.reversed(t, s, 0.0)

    def gain(self, t: Tensor) -> Tensor:
        """Coef of a right answer in the state at t."""
        return self.process.factor(t) if self.basis == "eps" else self.process.mean(t)

    def transfer(self, t: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
        """Row of DDIM: coefs of the state and of an answer that is held constant."""
        carry = self.carry(t, s)
        return carry, self.gain(s) - carry @ self.gain(t)


@dataclass(frozen=True)
class ScalarSide(Side):
    """The side of a process with numbers as coefficients. Its `clock` is the variable in which the
    flow is d(x/scale) = answer d clock: sigma/alpha with noise as answers, alpha/sigma with data.
    """

    process: Scalar

    def clock(self, t: Tensor) -> Tensor:
        """Clock, float64, shaped like t."""
        rho = self.process.rho(t)
        return rho if self.basis == "eps" else 1 / rho

    def scale(self, t: Tensor) -> Tensor:
        """Scale of what is carried, float64, shaped like t."""
        return self.process.alpha(t) if self.basis == "eps" else self.process.sigma(t)

    def time_of(self, clock: Tensor) -> Tensor:
        """Time at a value of the clock."""
        return self.process.time_of(clock if self.basis == "eps" else 1 / clock)


def silent(process: Process, t: Tensor | float) -> bool:
    """Whether the process has no signal at all at time t."""
    return not process.mean(torch.as_tensor(t, dtype=torch.float64)).any()


def side_of(process: Process, t: Tensor) -> Side:
    """The side on which a walk from time t is finite: noise, but data where t has no signal."""
    return Side(process, "x0" if silent(process, t) else "eps")


def scalar_side_of(process: Scalar, t: Tensor) -> ScalarSide:
    """`side_of` for a process with numbers as coefficients."""
    return ScalarSide(process, "x0" if silent(process, t) else "eps")
