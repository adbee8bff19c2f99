"""Processes: how data turns into noise, `x_t = mean(t) lift(x_0) + factor(t) noise`.

A coefficient ("Coef") is a float64 tensor (*t.shape, *S, k, k) on the device of `t`: S = () and
k = 1 where it is one number, S = (H, W) where it differs between frequencies, k = 2 where a pixel
has a position and a velocity. `apply` acts with it.
"""

from functions.parts import PROCESSES, SCHEDULES
from functions.plan import apply
from functions.process.base import Process, Scalar, VariancePreserving
from functions.process.blur import Blur
from functions.process.cld import CLD
from functions.process.edm import EDM
from functions.process.flow import Flow
from functions.process.schedules import beta_schedule
from functions.process.subvp import SubVP
from functions.process.vp import VP
from functions.process.vpsde import VPSDE
