"""Optimizers of the weights."""

from collections.abc import Iterable
from typing import Any

from torch import nn, optim

from configs.parts import require
from configs.values import Fraction, Positive, PositiveOrZero
from models.parts import OPTIMIZERS


@OPTIMIZERS.part("Adam", title="Adam", paper="1412.6980")
def adam(
    parameters: Iterable[nn.Parameter],
    lr: float,
    fused: bool,
    beta1: Fraction = 0.9,
    beta2: Fraction = 0.999,
    eps: Positive = 1e-8,
    weight_decay: PositiveOrZero = 0.0,
    amsgrad: bool = False,
) -> optim.Optimizer:
    """Make Adam. weight_decay: factor of the weight that is added to its gradient (L2 penalty).

    fused: one kernel for the whole update. Raises ValueError for an option out of range.
    """
    rest = _options(beta1, beta2, eps, weight_decay, amsgrad)
    return optim.Adam(parameters, lr=lr, fused=fused, **rest)


@OPTIMIZERS.part("AdamW", title="Adam with decoupled weight decay", paper="1711.05101")
def adamw(
    parameters: Iterable[nn.Parameter],
    lr: float,
    fused: bool,
    beta1: Fraction = 0.9,
    beta2: Fraction = 0.999,
    eps: Positive = 1e-8,
    weight_decay: PositiveOrZero = 0.0,
    amsgrad: bool = False,
) -> optim.Optimizer:
    """Make AdamW. weight_decay: every update first multiplies the weight by 1 - lr weight_decay.

    fused: one kernel for the whole update. Raises ValueError for an option out of range.
    """
    rest = _options(beta1, beta2, eps, weight_decay, amsgrad)
    return optim.AdamW(parameters, lr=lr, fused=fused, **rest)


def _options(
    beta1: float, beta2: float, eps: float, weight_decay: float, amsgrad: bool
) -> dict[str, Any]:
    """Check the options that both optimizers have, and name them as PyTorch does."""
    require(adam, beta1=beta1, beta2=beta2, eps=eps, weight_decay=weight_decay, amsgrad=amsgrad)
    betas = (beta1, beta2)
    return {"betas": betas, "eps": eps, "weight_decay": weight_decay, "amsgrad": amsgrad}
