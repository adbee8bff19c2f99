"""Training losses: (denoiser, x0, t, noise, **options) -> one number per sample, (B,).

A loss is a mean over the pixels of a sample. Weights, the density of t and the reduction over the
batch belong to the caller.
"""

from functions.loss.bound import bound, hybrid, kl
from functions.loss.simple import mse, simple
from functions.loss.skip import SkipNoise, clamped_from, skip, skip_coefficient, skip_scale
from functions.parts import LOSSES
