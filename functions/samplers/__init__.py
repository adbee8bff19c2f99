"""Builders of sampling plans: (process, grid, **options) -> Plan."""

from collections.abc import Callable
from typing import NamedTuple

from functions.plan import Plan
from functions.samplers.ddim import ddim
from functions.samplers.ddpm import ddpm
from functions.samplers.deis import deis
from functions.samplers.dpm_solver import dpm_solver_pp, unipc
from functions.samplers.euler import euler
from functions.samplers.gddim import gddim
from functions.samplers.pndm import f_pndm, ipndm, s_pndm
from functions.samplers.runge_kutta import heun, rho_rk


class About(NamedTuple):
    """What a list of samplers shows: title, paper (arXiv), order, evaluations for S steps."""

    title: str
    paper: str
    order: str
    nfe: str


SAMPLERS: dict[str, Callable[..., Plan]] = {
    "ddim": ddim,
    "ddpm": ddpm,
    "s_pndm": s_pndm,
    "f_pndm": f_pndm,
    "ipndm": ipndm,
    "deis": deis,
    "gddim": gddim,
    "rho_rk": rho_rk,
    "heun": heun,
    "euler": euler,
    "dpm_solver_pp": dpm_solver_pp,
    "unipc": unipc,
}

ABOUT = {
    "ddim": About("DDIM", "2010.02502", "1", "S"),
    "ddpm": About("DDPM ancestral sampling", "2006.11239", "1", "S"),
    "s_pndm": About("S-PNDM", "2202.09778", "2", "S + 1"),
    "f_pndm": About("F-PNDM", "2202.09778", "2", "S + 9"),
    "ipndm": About("iPNDM", "2204.13902", "2", "S"),
    "deis": About("DEIS tAB, rhoAB, lambda", "2204.13902", "order + 1", "S"),
    "gddim": About("gDDIM: any process, lam, corrector", "2206.05564", "order + 1", "S"),
    "rho_rk": About("DEIS rhoRK", "2204.13902", "1 to 4", "nodes (S - 1) + 1; vpsde: nodes S"),
    "heun": About("EDM's Heun with churn", "2206.00364", "2", "2S; vp: 2S - 1"),
    "euler": About("Euler, Euler-Maruyama (lam 1)", "2011.13456", "1", "S"),
    "dpm_solver_pp": About("DPM-Solver++ 1M, 2M, 3M, SDE", "2211.01095", "1, 2; 3M: 2", "S"),
    "unipc": About("UniPC", "2302.04867", "order + 1 (with corrector)", "S"),
    "rk45": About("probability flow, adaptive RK45", "2011.13456", "5", "as many as it needs"),
}

__all__ = ["ABOUT", "SAMPLERS", "About", *SAMPLERS]
