"""Time grids of sampling: (process, steps, **options) -> decreasing float64 times, the last one
the end of sampling.
"""

from functions.grids.ays import ays
from functions.grids.by_noise import karras, logsnr
from functions.grids.even import ddim_uniform, trailing, uniform
from functions.grids.power import power, quad
from functions.grids.respaced import respaced
from functions.grids.shifted import shifted
from functions.parts import GRIDS
