"""Eps scales, factors on the predicted noise while sampling: (process, **options) -> scale(t)."""

from functions.parts import SCALES
from functions.scales.base import Scale
from functions.scales.linear import linear
from functions.scales.skip import skip
