"""Metrics: numbers about a set of images, from the features of a network. Pure mathematics.

A part takes a `Seen` and gives its value, or (value, deviation). Features are (n, D) tensors. The
Frechet distance works in float64 throughout; KID and precision/recall work in the dtype they are
given: with float32 features they give the digits of torch-fidelity 0.4.0, the library these numbers
are compared with, with float64 features the exact value. Seeds feed NumPy's `RandomState` for the
same reason.
"""

from functions.metrics.base import Reference, Seen
from functions.metrics.frechet import frechet, split_distance
from functions.metrics.kid import kid, kid_subset_size
from functions.metrics.label import Named, label
from functions.metrics.moments import Moments
from functions.metrics.precision_recall import precision_recall
from functions.parts import METRICS

from functions.metrics.inception_score import inception_score  # isort: skip (listed last)
