"""Coefficients of a process at a time, and the conversions that follow from them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import torch
from torch import Tensor

from functions.plan import accumulate
from functions.predictions import Predicts, input_scale, pair, to_clean, to_noise
from functions.process import Process, Scalar, apply


class At:
    """Coefficients of a process at a time, and the solutions of x = mean x0 + factor eps for x0 and
    eps; they take two passes over memory where the coefficients are numbers.
    """

    def __init__(self, process: Process, t: Tensor) -> None:
        self.process, self.t = process, t
        self.mean, self.factor = process.mean(t), process.factor(t)
        self._pairs: dict[tuple[str, Predicts], tuple[Tensor, Tensor]] = {}

    def pair(self, predicts: Predicts) -> tuple[Tensor, Tensor]:
        """Coefs (of x0, of noise) of a prediction; see `functions.predictions`."""
        return self._pair("pair", pair, predicts)

    def to_clean(self, predicts: Predicts) -> tuple[Tensor, Tensor]:
        """Coefs (of a prediction, of x) of the clean state."""
        return self._pair("clean", to_clean, predicts)

    def to_noise(self, predicts: Predicts) -> tuple[Tensor, Tensor]:
        """Coefs (of a prediction, of x) of the noise."""
        return self._pair("noise", to_noise, predicts)

    def _pair(
        self, name: str, of: Callable[..., tuple[Tensor, Tensor]], predicts: Predicts
    ) -> tuple[Tensor, Tensor]:
        if (name, predicts) not in self._pairs:
            first, second = of(self.process, self.t, predicts)
            self._pairs[name, predicts] = first[..., None, None], second[..., None, None]
        return self._pairs[name, predicts]

    @cached_property
    def input_scale(self) -> Tensor:
        """Coef that EDM's preconditioning multiplies x by."""
        assert isinstance(self.process, Scalar)
        return input_scale(self.process, self.t)[..., None, None]

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
