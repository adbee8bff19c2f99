"""Densities of training times: a part draws times and weighs each loss."""

from functions.parts import TIMES
from functions.times.antithetic import Antithetic
from functions.times.base import TimeSampler
from functions.times.uniform import Uniform
