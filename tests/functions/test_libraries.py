"""Equal walks and equal targets in the field's own libraries (tests/requirements-peers.txt).

Both sides ask one exact network of a Gaussian mixture. The libraries keep their noise levels, and
most of their states, in float32; where they let us, we hand them float64.
"""

from functools import partial

import numpy as np
import pytest
import torch

from functions.denoiser import Denoiser
from functions.grids import GRIDS
from functions.plan import solve
from functions.process import EDM, VP, Flow
from functions.samplers import SAMPLERS
from functions.times import TIMES
from tests.analytic import Blend, ExactNet

DATA = Blend([0.3, 0.7], [0.5, -0.4], [0.3, 0.5])
STEPS = 12
WORDS = {"eps": "epsilon", "x0": "sample", "v": "v_prediction", "velocity": "flow_prediction"}


@pytest.fixture
def diffusers():
    return pytest.importorskip("diffusers", reason="diffusers is not installed")


def noise(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def ours(process, predicts, grid, sampler, options, x):
    """Our sample from state x."""
    denoiser = Denoiser(ExactNet(DATA, process, predicts), process, predicts)
    plan = SAMPLERS[sampler](process, grid, **options)
    *_, x = solve(plan, partial(denoiser.answer, plan.basis), x)
    return x


def theirs(scheduler, process, predicts, x):
    """The sample of a scheduler from state x."""
    network = ExactNet(DATA, process, predicts)
    for t in scheduler.timesteps:
        shown = scheduler.scale_model_input(x, t) if hasattr(scheduler, "scale_model_input") else x
        x = scheduler.step(network(shown, t.double().view(1)), t, x).prev_sample.double()
    return x


def close(got, want, atol=1e-6, rtol=0.0):
    torch.testing.assert_close(got, want, atol=atol, rtol=rtol)


# --- flow matching ----------------------------------------------------------------------------


def test_states_and_targets_of_conditional_flow_matching():
    """torchcfm walks from noise at its t = 0 to data at 1: time and velocity change their sign."""
    path = "torchcfm.conditional_flow_matching"
    matcher = pytest.importorskip(path, reason="torchcfm is not installed").ConditionalFlowMatcher
    x0, z = noise(64, 1, 4, 4), noise(64, 1, 4, 4, seed=1)
    torch.manual_seed(0)
    t, x, u = matcher(sigma=0.0).sample_location_and_conditional_flow(z, x0)
    flow = Flow(time="1-t")
    close(flow.perturb(x0, 1 - t, z), x, 1e-12)
    close(Denoiser(torch.nn.Identity(), flow, "velocity").target(x0, z, 1 - t), -u, 1e-12)
    close(flow.network_time(1 - t), t, 1e-12)  # a network of theirs is told their time
    torch.manual_seed(0)
    drawn, weight = TIMES["uniform"](Flow()).sample(64)
    close(drawn.double(), t, 1e-7)
    assert (weight == 1).all()


@pytest.mark.parametrize("options", [{}, {"shift": 3.0}, {"use_karras_sigmas": True}], ids=str)
def test_euler_of_flow_matching(diffusers, options):
    scheduler, flow = diffusers.FlowMatchEulerDiscreteScheduler(**options), Flow()
    scheduler.set_timesteps(sigmas=np.linspace(1, 1 / STEPS, STEPS))
    times = scheduler.sigmas.double()
    close(scheduler.timesteps.double(), flow.network_time(times[:-1]), 1e-4)
    if "use_karras_sigmas" not in options:
        close(GRIDS["shifted"](flow, STEPS, options.get("shift", 1.0)), times, 2e-7)
    x = noise(2, 1, 4, 4)
    for sampler in ("euler", "ddim"):
        got = ours(flow, "velocity", times, sampler, {}, x)
        close(got, theirs(scheduler, flow, "velocity", x), 2e-6)
        scheduler._step_index = None


@pytest.mark.parametrize("shift", [1.0, 3.0])
@pytest.mark.parametrize(
    ("kind", "sampler", "asked"),
    [
        ("DPMSolverMultistepScheduler", "dpm_solver_pp", {"solver_order": 2}),
        ("DPMSolverMultistepScheduler", "dpm_solver_pp", {"solver_order": 3}),
        ("UniPCMultistepScheduler", "unipc", {"solver_order": 2}),
        ("UniPCMultistepScheduler", "unipc", {"solver_order": 3}),
    ],
    ids=str,
)
def test_solvers_on_flow_matching(diffusers, kind, sampler, asked, shift):
    flow = Flow()
    words = {"prediction_type": "flow_prediction", "use_flow_sigmas": True, "flow_shift": shift}
    scheduler = getattr(diffusers, kind)(**words, **asked)
    scheduler.set_timesteps(STEPS)
    scheduler.sigmas = times = scheduler.sigmas.double()
    x = noise(2, 1, 4, 4)
    got = ours(flow, "velocity", times, sampler, {"order": asked["solver_order"]}, x)
    scheduler.timesteps = 1000 * times[:-1]  # theirs are rounded down to whole numbers
    close(got, theirs(scheduler, flow, "velocity", x))


# --- EDM --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "asked", "sampler", "options"),
    [
        ("EDMEulerScheduler", {}, "ddim", {}),
        *[
            (
                "EDMDPMSolverMultistepScheduler",
                {"solver_order": order, "solver_type": kind},
                "dpm_solver_pp",
                {"order": order, "exact": kind == "heun"},
            )
            for order, kind in ((2, "midpoint"), (2, "heun"), (3, "midpoint"))
        ],
    ],
    ids=str,
)
def test_edm(diffusers, kind, asked, sampler, options):
    scheduler, edm = getattr(diffusers, kind)(**asked), EDM()
    scheduler.set_timesteps(STEPS)
    times = scheduler.sigmas.double()
    close(GRIDS["karras"](edm, STEPS), times, 0, 1e-6)
    close(scheduler.timesteps.double(), times[:-1].log() / 4, 1e-6)
    scheduler.sigmas = times
    x = 80 * noise(2, 1, 4, 4)
    got = ours(edm, "edm", times, sampler, options, x)
    close(got, theirs(scheduler, edm, "edm", x), 1e-5)


# --- the variance-preserving process under every prediction -----------------------------------


@pytest.mark.parametrize("predicts", ["eps", "x0", "v"])
@pytest.mark.parametrize("schedule", ["linear", "cosine"])
@pytest.mark.parametrize(
    ("kind", "asked", "sampler", "options"),
    [
        ("DDIMScheduler", {"clip_sample": False}, "ddim", {}),
        ("DPMSolverMultistepScheduler", {"solver_order": 2}, "dpm_solver_pp", {"order": 2}),
        ("DPMSolverMultistepScheduler", {"solver_order": 3}, "dpm_solver_pp", {"order": 3}),
        ("UniPCMultistepScheduler", {"solver_order": 2}, "unipc", {"order": 2}),
        ("UniPCMultistepScheduler", {"solver_order": 3}, "unipc", {"order": 3}),
    ],
    ids=str,
)
def test_predictions_on_vp(diffusers, kind, asked, sampler, options, schedule, predicts):
    vp, x = VP(schedule), noise(2, 1, 4, 4)
    scheduler = getattr(diffusers, kind)(
        prediction_type=WORDS[predicts], timestep_spacing="trailing", **asked
    )
    scheduler.set_timesteps(10)
    times = GRIDS["trailing"](vp, 10)
    assert scheduler.timesteps.tolist() == times[:-1].tolist()
    scheduler.alphas_cumprod = vp.alpha(torch.arange(1000)) ** 2  # float64
    scheduler.final_alpha_cumprod = torch.ones(()).double()
    scheduler.sigmas = vp.rho(times)
    close(ours(vp, predicts, times, sampler, options, x), theirs(scheduler, vp, predicts, x))
