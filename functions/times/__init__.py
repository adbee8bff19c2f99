"""Densities of training times: a part draws times and weighs each loss."""

from functions.parts import TIMES
from functions.times.antithetic import Antithetic
from functions.times.base import TimeSampler
from functions.times.cosmap import CosMap
from functions.times.logit_normal import LogitNormal
from functions.times.lognormal_sigma import LognormalSigma
from functions.times.loss_second_moment import LossSecondMoment
from functions.times.mode import Mode
from functions.times.under import Under
from functions.times.uniform import Uniform
