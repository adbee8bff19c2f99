"""Averages of weights by power functions, and averages of other lengths made from stored ones.

An average of exponent gamma weighs the weights of update s in proportion to s^gamma. Its length,
the relative width sigma_rel of that profile, is a share of the training so far, so that one number
fits a training of any duration (2312.02696, section 3.1). Averages that were stored now and then
make one of another length after the training, by least squares between profiles (section 3.2,
appendix C).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
from torch import nn

from configs.parts import require
from configs.values import Length
from models.ema import Averages

FARTHEST = 0.05  # relative error of a profile that is still taken for the one asked for
TRIED = np.geomspace(0.002, 0.25, 200).tolist()  # lengths, to say which of them can be made

Stored = tuple[int, float]  # the update at which an average was stored, and its length


class PowerEMA(Averages):
    """Averages of given lengths, named by them; the t-th update has the rate (1 - 1/t)^(gamma + 1)
    (2312.02696, eq. 127), so that the first weights, which are random, have no part in them.

    Raises ValueError for no lengths, equal ones, and lengths outside (0, 0.25].
    """

    def __init__(self, network: nn.Module, lengths: Sequence[Length]) -> None:
        require(PowerEMA, lengths=tuple(lengths))
        if not lengths or len(set(lengths)) < len(lengths):
            raise ValueError(f"ema_powers: {lengths} must be one or more different lengths")
        super().__init__(network, lengths)

    def rate(self, name: float) -> float:
        """The rate of this update."""
        return (1 - 1 / self.updates) ** (exponent(name) + 1)

    def settings(self) -> dict:
        """Lengths of the averages."""
        return {"lengths": self.names}


@cache
def exponent(length: float) -> float:
    """Give gamma of a relative width: the largest root of its cubic (2312.02696, algorithm 2).

    sigma_rel^2 = (gamma + 1) / ((gamma + 2)^2 (gamma + 3)).
    """
    square = length**-2
    return float(np.roots([1, 7, 16 - square, 12 - square]).real.max())


def fit(
    stored: Sequence[Stored], step: int, lengths: Sequence[float]
) -> tuple[np.ndarray, np.ndarray]:
    """Combine the profiles of stored averages to those of other lengths at update `step`, as near
    as can be in L2. Returns factors (n, L), whose sums are 1, and relative errors (L,).

    2312.02696, algorithm 3.
    """
    wanted = [(step, length) for length in lengths]
    grams, sides = _products(stored, stored), _products(stored, wanted)
    factors = np.linalg.solve(grams, sides)
    factors /= factors.sum(0)
    squares = np.diag(_products(wanted, wanted))
    left = squares - 2 * (sides * factors).sum(0) + (factors * (grams @ factors)).sum(0)
    errors = np.sqrt(np.maximum(left, 0) / squares)
    return factors, errors


def reach(stored: Sequence[Stored], step: int) -> tuple[float, float]:
    """Find the shortest and the longest average at update `step` that stored ones can make."""
    errors = fit(stored, step, TRIED)[1]
    near = [length for length, error in zip(TRIED, errors, strict=True) if error <= FARTHEST]
    near += [length for at, length in stored if at == step]
    return min(near), max(near)


def _products(first: Sequence[Stored], second: Sequence[Stored]) -> np.ndarray:
    """Inner products (n, m) of profiles p(s) = (gamma + 1) s^gamma / t^(gamma + 1), 0 < s <= t
    (2312.02696, eq. 151).
    """
    t_a, t_b = (np.array([t for t, _ in one], dtype=np.float64) for one in (first, second))
    a, b = (np.array([exponent(length) for _, length in one]) for one in (first, second))
    t_a, a = t_a[:, None], a[:, None]
    earlier, later = np.minimum(t_a, t_b), np.maximum(t_a, t_b)
    power = np.where(t_a < t_b, b, a)  # of the one that goes on longer
    return (a + 1) * (b + 1) / (a + b + 1) * (earlier / later) ** power / later
