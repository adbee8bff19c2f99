"""The order of convergence of every sampler on every process, measured on a Gaussian mixture."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.integrate import solve_ivp
from torch import Tensor

from functions.basis import silent
from functions.plan import solve
from functions.process import CLD, EDM, VP, VPSDE, Blur, Flow, Process, Scalar, apply
from functions.samplers import SAMPLERS
from tests.analytic import Blend

ORDERS = [  # (sampler, options, order of the global error)
    ("ddim", {}, 1),
    ("euler", {}, 1),
    ("deis", {"order": 0}, 1),
    *[
        ("deis", {"order": q, "variable": v}, q + 1)
        for v in ("t", "rho", "lambda")
        for q in (1, 2, 3)
    ],
    *[("gddim", {"order": q}, q + 1) for q in (0, 1, 2, 3)],
    *[("gddim", {"order": q, "corrector": True}, q + 2) for q in (0, 1, 2)],
    ("s_pndm", {}, 2),
    ("f_pndm", {}, 2),
    *[("ipndm", {"order": q}, min(q, 2)) for q in (1, 2, 3, 4)],
    ("heun", {}, 2),
    ("rho_rk", {"tableau": "euler"}, 1),
    *[("rho_rk", {"tableau": t}, 2) for t in ("midpoint", "heun")],
    *[
        ("rho_rk", {"tableau": t}, 3)
        for t in ("kutta3", "ralston3", "heun3", "van_der_houwen3", "ssp3")
    ],
    ("rho_rk", {"tableau": "rk4"}, 4),
    ("dpm_solver_pp", {"order": 1}, 1),
    ("dpm_solver_pp", {"order": 2}, 2),
    ("dpm_solver_pp", {"order": 3}, 2),  # half a moment is missing in what was published
    *[("dpm_solver_pp", {"order": q, "exact": True}, q) for q in (2, 3)],
    *[("dpm_solver_pp", {"order": q, "exact": True, "basis": "eps"}, q) for q in (2, 3)],
    *[("unipc", {"order": q, "variant": v}, q + 1) for v in ("bh1", "bh2") for q in (1, 2, 3)],
    *[("unipc", {"order": q, "corrector": False}, q) for q in (1, 2, 3)],
    ("unipc", {"order": 2, "basis": "eps"}, 3),
    *[("dpm_single", {"order": q, "basis": b}, q) for q in (1, 2, 3) for b in ("x0", "eps")],
    *[("dpm_single", {"order": q, "exact": True}, q) for q in (2, 3)],
    ("heun", {"step": "dpm2"}, 2),
    ("heun", {"step": "euler"}, 1),
    ("classical", {"method": "heun"}, 2),
    *[("classical", {"method": method}, 4) for method in ("rk4", "fon")],
]
# Where an order is seen late, or from above: higher weights on the row of DDIM come down to their
# second order late, half a moment counts little, degree 3 is exact to rounding early.
LATE = (
    ("f_pndm", {}),
    *[("ipndm", {"order": q}) for q in (3, 4)],
    ("dpm_solver_pp", {"order": 3}),
    ("gddim", {"order": 2, "corrector": True}),
)
SHAPE = (4, 4)


class Walk(NamedTuple):
    """A walk of a process from t to s, and the step counts at which orders are measured."""

    process: Process
    t: float
    s: float
    steps: tuple[int, int] = (80, 160)


def remembering(process: Process) -> Process:
    """The process, which computes its coefficients at a time once: samplers share their grids, and
    most of what an order costs is the same coefficients again.
    """

    def remembered(of: Callable[..., Tensor]) -> Callable[..., Tensor]:
        known: dict[tuple, Tensor] = {}

        def coefficient(*times: Tensor) -> Tensor:
            key = tuple((t.shape, t.numpy().tobytes()) for t in times)
            if key not in known:
                known[key] = of(*times)
            return known[key]

        return coefficient

    for name in ("log_abar", "alpha", "sigma", "rho", "time_of", "mean", "factor", "psi"):
        if hasattr(process, name):
            setattr(process, name, remembered(getattr(process, name)))
    return process


WALKS = {
    "vp": Walk(remembering(VP()), 900.0, 20.0),
    "cosine": Walk(remembering(VP("cosine")), 900.0, 20.0),
    "vpsde": Walk(remembering(VPSDE()), 0.9, 0.02),
    "flow": Walk(remembering(Flow()), 1.0, 0.0),
    "edm": Walk(remembering(EDM()), 3.0, 0.05),
    "cld": Walk(remembering(CLD()), 1.0, 0.05, (160, 320)),
    "blur": Walk(remembering(Blur(SHAPE)), 0.9, 0.05, (160, 320)),
}


@cache
def data() -> Blend:
    """Two Gaussians that overlap, of other widths in every pixel: the worst error among many does
    not pass through zero.
    """
    ones, width = torch.ones(SHAPE).double(), torch.linspace(0.25, 0.7, 16).double().view(SHAPE)
    means = torch.stack([0.5 * ones, -0.4 * ones])
    return Blend([0.3, 0.7], means, torch.stack([width, width.flip(0)]))


@cache
def ends(name: str) -> tuple[Tensor, Tensor]:
    """First state of a walk, and the end of its probability flow."""
    walk = WALKS[name]
    generator = torch.Generator().manual_seed(0)
    x0, t = torch.zeros(1, 1, *SHAPE).double(), torch.tensor([walk.t]).double()
    noise = torch.randn(1, walk.process.groups, *SHAPE, generator=generator, dtype=torch.float64)
    x = walk.process.perturb(x0, t, noise)
    if walk.process.groups == 1:
        return x, data().flow(walk.process, x, walk.t, walk.s)
    return x, _integrated(walk, x)


def _integrated(walk: Walk, x: Tensor) -> Tensor:
    """End of dx/dt = F x + 1/2 G G^T R^-T eps by a solver of order 8."""

    def slope(t: float, flat: np.ndarray) -> np.ndarray:
        time, state = torch.tensor(t).double(), torch.from_numpy(flat).view_as(x)
        eps = data().answers(walk.process, state, t)["eps"]
        gain = 0.5 * walk.process.diffusion(time) @ torch.linalg.inv(walk.process.factor(time)).mT
        return (apply(walk.process.drift(time), state) + apply(gain, eps)).flatten().numpy()

    found = solve_ivp(
        slope, (walk.t, walk.s), x.flatten().numpy(), "DOP853", rtol=1e-11, atol=1e-12
    )
    return torch.from_numpy(found.y[:, -1]).view_as(x)


def grid(name: str, equal: bool, steps: int) -> Tensor:
    """Times of a walk, in equal steps, as the weights of PNDM and FON want them; else the steps
    shrink towards both ends, because multistep methods start and UniPC ends at a lower order.
    """
    u = torch.linspace(0, 1, steps + 1, dtype=torch.float64)
    u = u if equal else u**3 * (10 - 15 * u + 6 * u**2)
    walk = WALKS[name]
    return walk.t + (walk.s - walk.t) * u


def defined(name: str, sampler: str, options: dict[str, Any]) -> bool:
    """Whether a sampler is defined on the process, and from the first time of the walk; of the
    classical ones, whether the drift is smooth: on a table of times it has a step at each.
    """
    process = WALKS[name].process
    if sampler == "classical":
        return process.steps is None
    if not isinstance(process, Scalar):
        in_time = options.get("variable", "t") == "t" and options.get("step") != "dpm2"
        return in_time and sampler not in ("rho_rk", "dpm_single", "dpm_solver_pp", "unipc")
    return not (silent(process, WALKS[name].t) and options.get("basis") == "eps")


def error(name: str, sampler: str, options: dict[str, Any], steps: int) -> float:
    """Largest error of a walk of so many steps."""
    (x, exact), process = ends(name), WALKS[name].process
    equal = "pndm" in sampler or options.get("method") == "fon"
    plan = SAMPLERS[sampler](process, grid(name, equal, steps), **options)
    *_, last = solve(plan, lambda x, t: data().answers(process, x, t)[plan.basis], x)
    return (last - exact).abs().max().item()


def order(name: str, sampler: str, options: dict[str, Any]) -> tuple[float, float]:
    """Observed order of convergence, from two step counts, and the error at the larger one."""
    few, many = WALKS[name].steps
    coarse, fine = (error(name, sampler, options, steps) for steps in (few, many))
    return math.log(coarse / fine) / math.log(many / few), fine
