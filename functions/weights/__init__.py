"""Loss weights: (process, t, **options) -> factor on the loss at t, float64, shaped like t.

A weight is defined on the squared error of eps. `base.eps_error` says what it is on the squared
error of another prediction, so that all predictions are trained alike.
"""

from functions.parts import WEIGHTS
from functions.weights.base import eps_error, signal_to_noise
from functions.weights.edm import edm, snr_plus_one
from functions.weights.min_snr import min_snr
from functions.weights.p2 import p2
from functions.weights.plain import none, snr
