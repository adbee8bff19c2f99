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

from functions.clips import CLIPS
from functions.denoiser import Denoiser
from functions.grids import GRIDS
from functions.guidance import Guided
from functions.plan import Plan, solve
from functions.process import EDM, VP, Flow
from functions.samplers import SAMPLERS
from tests.analytic import MODELS, ExactNet

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


# --- diffusers: single steps ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def schedulers():
    return pytest.importorskip("diffusers.schedulers")


def in_float64(scheduler):
    """The scheduler with its tables in float64."""
    scheduler.alphas_cumprod = VP().alpha(torch.arange(1000)) ** 2
    return scheduler


SINGLE = [  # (their options, ours)
    ({"solver_order": 1}, {"order": 1}),
    ({"solver_order": 2}, {"order": 2}),
    ({"solver_order": 2, "solver_type": "heun"}, {"order": 2, "exact": True}),
    ({"solver_order": 3}, {"order": 3}),
    ({"solver_order": 3, "solver_type": "heun"}, {"order": 3, "exact": True}),
    ({"solver_order": 2, "algorithm_type": "dpmsolver"}, {"order": 2, "basis": "eps"}),
    ({"solver_order": 3, "algorithm_type": "dpmsolver"}, {"order": 3, "basis": "eps"}),
]


@pytest.mark.parametrize("steps", [6, 7, 8])
@pytest.mark.parametrize(("theirs", "options"), SINGLE, ids=lambda v: str(v))
def test_single_steps_on_the_grids_times_equal_diffusers(schedulers, theirs, options, steps):
    vp, clean_end = VP(), "algorithm_type" not in theirs
    scheduler = in_float64(
        schedulers.DPMSolverSinglestepScheduler(
            final_sigmas_type="zero" if clean_end else "sigma_min",
            lower_order_final=clean_end or steps % theirs["solver_order"] != 0,
            **theirs,
        )
    )
    scheduler.set_timesteps(steps)
    times = scheduler.timesteps.double()
    end = torch.tensor([-1.0 if clean_end else 0.0]).double()
    scheduler.sigmas = vp.rho(torch.cat([times, end]))
    x = want = normal(2, 1, 4, 4)
    for t in scheduler.timesteps:
        eps = MIXTURE.eps(want, vp.alpha(t.double()) ** 2)
        want = scheduler.step(eps, t, want).prev_sample
    plan = SAMPLERS["dpm_single"](vp, torch.cat([times, end]), nodes="grid", **options)
    assert plan.nfe == steps
    close(walk(plan, vp, x), want)


def test_renewed_noise_on_flow_is_diffusers_stochastic_sampling(schedulers, monkeypatch):
    module = sys.modules[schedulers.FlowMatchEulerDiscreteScheduler.__module__]
    stored, flow = normal(6, 2, 1, 4, 4, seed=1), Flow()
    scheduler = schedulers.FlowMatchEulerDiscreteScheduler(stochastic_sampling=True)
    scheduler.set_timesteps(6)
    used = iter(stored)
    monkeypatch.setattr(module, "randn_tensor", lambda *args, **options: next(used))
    x = want = normal(2, 1, 4, 4)
    grid = scheduler.sigmas.double()
    scheduler.sigmas = grid
    for t, sigma in zip(scheduler.timesteps, grid, strict=False):
        x0 = (
            torch.full_like(x, -0.11)
            if sigma == 1
            else clean(want / (1 - sigma), sigma / (1 - sigma))
        )
        want = scheduler.step((want - x0) / sigma, t, want.double()).prev_sample
    plan = SAMPLERS["dpm_single"](flow, grid, order=1, eta=math.inf)
    close(walk(plan, flow, x, stored), want, 1e-6)  # theirs is rounded to float32 in every step


# --- diffusers: clipping, schedules, guidance -----------------------------------------------------

CLIPPED = [  # (their options, use_clipped_model_output, our clip)
    ({"clip_sample": True}, True, ("static", {})),
    ({"clip_sample": True}, False, ("static", {"keep_eps": True})),
    ({"clip_sample": True, "clip_sample_range": 0.8}, True, ("static", {"bound": 0.8})),
    (
        {"thresholding": True, "dynamic_thresholding_ratio": 0.7, "sample_max_value": 1.3},
        True,
        ("dynamic", {"ratio": 0.7, "most": 1.3}),
    ),
    (
        {"thresholding": True, "dynamic_thresholding_ratio": 0.7, "sample_max_value": 1.3},
        False,
        ("dynamic", {"ratio": 0.7, "most": 1.3, "keep_eps": True}),
    ),
]


class Loud(ExactNet):
    """A network whose data leave [-1, 1] on the way."""

    def forward(self, x, t, label=None):
        return 0.9 * super().forward(x, t, label)


@pytest.mark.parametrize("eta", [0.0, 0.6])
@pytest.mark.parametrize(("theirs", "used", "ours"), CLIPPED)
def test_clipped_ddim_equals_diffusers_with_either_noise(schedulers, theirs, used, ours, eta):
    vp, (name, options) = VP(), ours
    scheduler = schedulers.DDIMScheduler(
        beta_schedule="linear", set_alpha_to_one=True, **{"clip_sample": False, **theirs}
    )
    scheduler = in_float64(scheduler)
    scheduler.final_alpha_cumprod = torch.tensor(1.0).double()
    scheduler.set_timesteps(10)
    stored, x = normal(10, 3, 1, 4, 4, seed=1), normal(3, 1, 4, 4)
    denoiser = Denoiser(Loud(MIXTURE, vp), vp, clip=CLIPS[name](**options))
    plan = SAMPLERS["ddim"](vp, GRIDS["uniform"](vp, 10), eta=eta)
    draws = iter(stored)
    move = denoiser.moved if denoiser.clip.keep_eps else None
    (*_, got) = solve(plan, denoiser.eps, x, lambda x: next(draws), move=move)
    want = x
    for t, z in zip(scheduler.timesteps, stored, strict=True):
        want = scheduler.step(
            denoiser.raw_eps(want, float(t)),
            t,
            want,
            eta=eta,
            use_clipped_model_output=used,
            variance_noise=z,
        ).prev_sample
    close(got, want)
    free = Denoiser(Loud(MIXTURE, vp), vp)
    (*_, unclipped) = solve(plan, free.eps, x, lambda x: 0 * x)
    assert (got - unclipped).abs().max() > 1e-3  # the clip did something


@pytest.mark.parametrize("schedule", ["linear", "quad", "cosine"])
def test_rescaled_schedules_equal_diffusers(schedulers, schedule):
    rescale = sys.modules[schedulers.DDIMScheduler.__module__].rescale_zero_terminal_snr
    vp = VP(schedule, rescale_zero_snr=True)
    close(vp.betas, rescale(VP(schedule).betas), 1e-12)
    assert vp.alpha(torch.tensor(999.0)) == 0 and vp.betas[-1] == 1


@pytest.mark.parametrize(("predicts", "theirs"), [("v", "v_prediction"), ("x0", "sample")])
def test_a_walk_without_terminal_signal_equals_diffusers(schedulers, predicts, theirs):
    vp = VP(rescale_zero_snr=True)
    scheduler = schedulers.DDIMScheduler(
        clip_sample=False, prediction_type=theirs, timestep_spacing="trailing"
    )
    scheduler.alphas_cumprod = vp.alpha(torch.arange(1000)) ** 2
    scheduler.final_alpha_cumprod = torch.tensor(1.0).double()
    scheduler.set_timesteps(10)

    class Network(ExactNet):
        def forward(self, x, t, label=None):
            if float(t) < 999:
                return super().forward(x, t, label)
            return torch.full_like(x, -0.11 if self.predicts == "x0" else 0.11)

    denoiser = Denoiser(Network(MIXTURE, vp, predicts), vp, predicts)
    x = want = normal(3, 1, 4, 4)
    plan = SAMPLERS["ddim"](vp, GRIDS["trailing"](vp, 10))
    (*_, got) = solve(plan, lambda x, t: denoiser.answer(plan.basis, x, t), x)
    for t in scheduler.timesteps:
        want = scheduler.step(denoiser(want, float(t)), t, want).prev_sample
    close(got, want)


def test_guidance_is_scaled_back_as_in_diffusers():
    theirs = pytest.importorskip("diffusers.guiders.guider_utils").rescale_noise_cfg

    class Network(torch.nn.Module):
        def forward(self, x, t, label):
            return x * (1 + label.view(-1, 1, 1, 1)) + 0.1 * x**2

    vp, x, label = VP(), normal(4, 3, 4, 4), torch.tensor([0, 1, 1, 0])
    plain = Denoiser(Network(), vp)
    guided = Guided(plain, 3.0, no_class=2, rescale=0.7)
    own, other = plain(x, 500.0, label), plain(x, 500.0, torch.full_like(label, 2))
    want = theirs(other + 3.0 * (own - other), own, 0.7)
    close(guided.given(label)(x, 500.0), want, 1e-12)


def test_align_your_steps_equals_the_tables_of_diffusers(schedulers):
    tables = importlib.import_module("diffusers.schedulers.scheduling_utils").AysSchedules
    vp = VP("quad", 0.00085, 0.012)  # Stable Diffusion's
    for ours, theirs in {"sd15": "StableDiffusion", "sdxl": "StableDiffusionXL"}.items():
        grid = GRIDS["ays"](vp, 10, ours)
        assert grid[:-1].round().tolist() == pytest.approx(tables[f"{theirs}Timesteps"], abs=1)
        close(vp.rho(grid)[1:], torch.tensor(tables[f"{theirs}Sigmas"]).double()[1:], 1e-6)
    video = torch.tensor(tables["StableDiffusionVideoSigmas"]).double()
    close(GRIDS["ays"](EDM(sigma_max=700.0), 10, "svd"), video, 1e-4)
