"""Checks of features that metrics share."""

from __future__ import annotations

import torch
from torch import Tensor

SEED = 2020  # of the random draws; torch-fidelity's own


def check(x: Tensor, what: str, least: int) -> None:
    """Raise ValueError for a tensor that is not finite float features (n, D) with n >= least."""
    if x.ndim != 2 or x.dtype not in (torch.float32, torch.float64):
        raise ValueError(f"{what}: expected float32 or float64 (n, D), got {x.dtype} {x.shape}")
    if len(x) < least:
        raise ValueError(f"{what}: at least {least} samples needed, got {len(x)}")
    if bad := int((~x.isfinite()).any(1).sum()):
        raise ValueError(f"{what}: {bad} of {len(x)} rows hold NaN or infinity")


def check_same_size(first: Tensor, second: Tensor) -> None:
    """Raise ValueError for features (n, D) and (m, E) of different D and E."""
    if first.shape[-1] != second.shape[-1]:
        raise ValueError(f"features differ in size: {first.shape[-1]} and {second.shape[-1]}")
