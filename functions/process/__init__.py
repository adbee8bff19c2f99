"""Processes: how data turns into noise.

Coefficients ("Coef") are float64 tensors (*t.shape, *S, k, k), S = () and k = 1 where they are
numbers. They live on the device of `t`; `apply` acts with them.
"""

from functions.parts import PROCESSES, SCHEDULES
from functions.plan import apply
from functions.process.base import Process, VariancePreserving
from functions.process.blur import Blur
from functions.process.cld import CLD
from functions.process.schedules import beta_schedule
from functions.process.vp import VP
from functions.process.vpsde import VPSDE

__all__ = [
    "Blur",
    "CLD",
    "PROCESSES",
    "Process",
    "SCHEDULES",
    "VP",
    "VPSDE",
    "VariancePreserving",
    "apply",
    "beta_schedule",
]
