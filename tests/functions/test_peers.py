"""Samplers beside the libraries that have them too: diffusers and k-diffusion, float64.

A library that is not installed skips its tests. Of k-diffusion only its samplers are imported; the
package itself asks for more than they need.
"""

import importlib.metadata
import math
import sys
import types

import pytest
import torch

from functions.grids import GRIDS
from functions.plan import Plan, solve
from functions.process import EDM
from functions.samplers import SAMPLERS
from tests.analytic import MODELS

MIXTURE = MODELS["mixture"]


def normal(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def clean(x, sigma):
    """Expected data in x = data + sigma noise."""
    sigma = torch.as_tensor(sigma, dtype=torch.float64).flatten()[0]
    return x - sigma * MIXTURE.eps(x / (1 + sigma**2) ** 0.5, 1 / (1 + sigma**2))


def walk(plan, process, x, noise=()):
    """The sample of a plan with exact answers."""
    stored = iter(noise)

    def predict(x, t):
        time = torch.tensor(t, dtype=torch.float64)
        alpha, sigma = process.alpha(time), process.sigma(time)
        size = (alpha**2 + sigma**2) ** 0.5
        eps = MIXTURE.eps(x / size, (alpha / size) ** 2)
        x0 = x / size if alpha == 0 else (x - sigma * eps) / alpha
        x0 = torch.full_like(x, -0.11) if alpha == 0 else x0  # the mean of the mixture
        return {"eps": eps, "x0": x0, "velocity": eps - x0}[plan.basis]

    return list(solve(plan, predict, x, lambda x: next(stored)))[-1]


def close(got, want, atol=1e-9):
    torch.testing.assert_close(got, want, rtol=0, atol=atol)


# --- k-diffusion ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def k_diffusion():
    try:
        folder = importlib.metadata.distribution("k-diffusion").locate_file("k_diffusion")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("k-diffusion is not installed")
    package, helpers = types.ModuleType("k_diffusion"), types.ModuleType("k_diffusion.utils")
    helpers.append_dims = lambda sigma, ndim: sigma.view(-1, *[1] * (ndim - 1))
    package.__path__ = [str(folder)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "k_diffusion", package)
        patch.setitem(sys.modules, "k_diffusion.utils", helpers)
        yield importlib.import_module("k_diffusion.sampling")


NOISY = {"eta": 0.7, "s_noise": 1.01}
CHURN = {"s_churn": 6.0, "s_tmin": 0.05, "s_tmax": 20.0, "s_noise": 1.01}
OURS = {"churn": 6.0, "s_min": 0.05, "s_max": 20.0, "s_noise": 1.01}
LAM = {"lam": 0.7**0.5, "s_noise": 1.01}
THEIRS = [  # (their function, its options, our sampler, its options)
    ("euler", {}, "ddim", {}),
    ("euler", CHURN, "heun", {**OURS, "step": "euler"}),
    ("heun", CHURN, "heun", OURS),
    ("dpm_2", {}, "dpm_single", {"basis": "eps"}),
    ("dpm_2", CHURN, "heun", {**OURS, "step": "dpm2"}),
    ("lms", {"order": 4}, "deis", {"order": 3, "variable": "rho"}),
    ("lms", {"order": 2}, "deis", {"order": 1, "variable": "rho"}),
    ("euler_ancestral", {}, "ddim", {"eta": 1.0}),
    ("euler_ancestral", NOISY, "dpm_single", {"order": 1, **NOISY}),
    ("dpm_2_ancestral", {}, "dpm_single", {"basis": "eps", "eta": 1.0}),
    ("dpm_2_ancestral", NOISY, "dpm_single", {"basis": "eps", **NOISY}),
    ("dpmpp_2s_ancestral", {"eta": 0.0}, "dpm_single", {}),
    ("dpmpp_2s_ancestral", NOISY, "dpm_single", NOISY),
    ("dpmpp_sde", {}, "dpm_single", {"eta": 1.0, "sde": True}),
    ("dpmpp_sde", NOISY, "dpm_single", {**NOISY, "sde": True}),
    ("dpmpp_2m", {}, "dpm_solver_pp", {"lower_order_final": False}),
    ("dpmpp_2m_sde", NOISY, "dpm_solver_pp", {"sde": True, "lower_order_final": False, **LAM}),
    (
        "dpmpp_2m_sde",
        {**NOISY, "solver_type": "heun"},
        "dpm_solver_pp",
        {"sde": True, "exact": True, "lower_order_final": False, **LAM},
    ),
]


@pytest.mark.parametrize(
    ("theirs", "given", "name", "options"), THEIRS, ids=[f"{t}-{n}" for t, _, n, _ in THEIRS]
)
def test_samplers_equal_those_of_k_diffusion(
    k_diffusion, monkeypatch, theirs, given, name, options
):
    edm = EDM()
    grid = GRIDS["karras"](edm, 9)
    x, stored = 80 * normal(2, 1, 4, 4), normal(20, 2, 1, 4, 4, seed=1)
    plan, used, ours = SAMPLERS[name](edm, grid, **options), iter(stored), stored
    sample = getattr(k_diffusion, f"sample_{theirs}")
    if "s_churn" in given:  # theirs draws in every step, and uses it where it churns
        churned = [i for i, t in enumerate(grid[:-1].tolist()) if 0.05 <= t <= 20]
        ours = [stored[i] for i in churned]
        monkeypatch.setattr(torch, "randn_like", lambda x: next(used))
    elif any(stage.C is not None for stage in plan.stages):
        given = {**given, "noise_sampler": lambda sigma, to: next(used)}
    want = sample(clean, x, grid, disable=True, **given)
    monkeypatch.undo()
    close(walk(plan, edm, x, ours), want)


def test_dpm_solver_pp_3m_sde_is_that_of_k_diffusion_but_for_the_second_step(k_diffusion):
    """There they integrate the line exactly, where 3M as published takes the midpoint rule."""
    edm, options = EDM(), {"order": 3, "sde": True, "lower_order_final": False, **LAM}
    grid = GRIDS["karras"](edm, 9)
    x, stored = 80 * normal(2, 1, 4, 4), normal(20, 2, 1, 4, 4, seed=1)
    plan, exact = (
        SAMPLERS["dpm_solver_pp"](edm, grid, exact=exact, **options) for exact in (False, True)
    )
    mixed = Plan((plan.stages[0], exact.stages[1], *plan.stages[2:]), "x0")
    used = iter(stored)
    given = {**NOISY, "noise_sampler": lambda sigma, to: next(used)}
    want = k_diffusion.sample_dpmpp_3m_sde(clean, x, grid, disable=True, **given)
    close(walk(mixed, edm, x, stored), want)
