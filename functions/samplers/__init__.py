"""Samplers: (process, grid, **options) -> Plan, or Adaptive where a sampler chooses its steps."""

from functions.parts import SAMPLERS
from functions.samplers.classical import classical
from functions.samplers.ddim import ddim
from functions.samplers.ddpm import ddpm
from functions.samplers.deis import deis
from functions.samplers.dpm_single import dpm_single
from functions.samplers.dpm_solver import dpm_solver_pp
from functions.samplers.euler import euler
from functions.samplers.gddim import gddim
from functions.samplers.pndm import f_pndm, ipndm, s_pndm
from functions.samplers.rk45 import rk45
from functions.samplers.runge_kutta import heun, rho_rk
from functions.samplers.unipc import unipc
