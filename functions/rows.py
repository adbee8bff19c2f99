"""Helpers that sampler builders share: steps of a time grid, checks, and the row of DDIM."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from functions.basis import side
from functions.plan import Basis, Plan, Stage
from functions.process import Process, Scalar, VariancePreserving


def pairs(grid: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Steps (t, s) of a time grid (n + 1,), as 0-dim float64 tensors.

    Raises ValueError for a grid that is not strictly decreasing or has fewer than two times.
    """
    times = grid.double().cpu()
    if times.ndim != 1 or len(times) < 2 or not bool((times[1:] < times[:-1]).all()):
        raise ValueError("a time grid needs at least two times in strictly decreasing order")
    return list(zip(times[:-1], times[1:], strict=True))


def need_steps(steps: Sequence[object], least: int, name: str) -> None:
    """Raise ValueError for fewer than `least` steps, with which a method of this name would not
    reach its order.
    """
    if len(steps) < least:
        raise ValueError(f"{name} needs at least {least} steps, not {len(steps)}")


def need_scalar(process: Process, name: str) -> Scalar:
    """The process, if its coefficients are numbers. Raises ValueError otherwise: a method of this
    name is not defined there.
    """
    if not isinstance(process, Scalar):
        raise ValueError(f"{name} is defined for processes with numbers as coefficients only")
    return process


def need_preserving(process: Process, name: str) -> VariancePreserving:
    """The process, if it preserves the variance. Raises ValueError as `need_scalar` does."""
    if not isinstance(process, VariancePreserving):
        raise ValueError(f"{name} is defined for the variance-preserving processes only")
    return process


def transfer(process: Process, t: Tensor, s: Tensor, basis: Basis = "eps") -> tuple[Tensor, Tensor]:
    """Row of DDIM from t to s: coefficients of the state and of an answer, noise or data, that is
    held constant (2010.02502, eq. 12 with its sigma 0). Exact on any linear process.

    Raises ValueError where the process' factor does not solve its flow (CLD's L): the row would be
    another one.
    """
    if process.rate(t, s) is not None:
        raise ValueError(
            "CLD's L parametrisation has no DDIM row, which this sampler needs; deis in t, gddim "
            "and euler do without"
        )
    return side(process, basis).transfer(t, s)


def root(covariance: Tensor) -> Tensor:
    """Cholesky factor of a covariance that rounding may have left slightly indefinite."""
    values, vectors = torch.linalg.eigh((covariance + covariance.mT) / 2)
    half = vectors * torch.sqrt(values.clamp(min=0)).unsqueeze(-2)
    upper = torch.linalg.qr(half.mT).R
    return (upper * torch.sign(upper.diagonal(dim1=-2, dim2=-1)).unsqueeze(-1)).mT


def checked(
    process: Process, stages: Sequence[Stage], basis: Basis, stochastic: bool = False
) -> Plan:
    """Plan of these stages, after a check of every row with right answers: data x0 under noise
    e has to go from mean(t) x0 + factor(t) e to mean(s) x0 + factor(s) e, and where the plan draws
    noise, to the same mean.

    stochastic: says so where no stage has C. Raises ArithmeticError for a row that fails.
    """
    plan, base = Plan(tuple(stages), basis), stages[0].t
    ends = torch.tensor([stages[0].t, stages[0].s], dtype=torch.float64)
    drawn = stochastic or any(stage.C is not None for stage in stages)
    loose = drawn or process.rate(*ends) is not None
    for i, stage in enumerate(stages):
        t, s = torch.tensor([base, stage.s], dtype=torch.float64)
        answers = sum(stage.B.values(), torch.zeros_like(stage.A))
        mean = process.mean(s) - stage.A @ process.mean(t)
        noise = process.factor(s) - stage.A @ process.factor(t)
        of_clean, of_noise = {"eps": (0, 1), "x0": (1, 0), "velocity": (-1, 1)}[basis]
        mean, noise = mean - of_clean * answers, noise - of_noise * answers
        worst = float(torch.cat([mean, torch.zeros_like(noise) if loose else noise]).abs().max())
        if stage.B and worst > 1e-8 * max(1.0, float(stage.A.abs().max())):
            raise ArithmeticError(f"stage {i} is inconsistent by {worst:.1e}: the grid is too fine")
        base = stage.s if stage.commit else base
    return plan
