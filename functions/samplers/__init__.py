"""Builders of sampling plans: (process, grid, **options) -> Plan."""

from collections.abc import Callable

from functions.plan import Plan
from functions.samplers.ddim import ddim
from functions.samplers.ddpm import ddpm

SAMPLERS: dict[str, Callable[..., Plan]] = {"ddim": ddim, "ddpm": ddpm}

__all__ = ["SAMPLERS", "ddim", "ddpm"]
