"""Objectives: predictions, their preconditioning, and trainings that are the same in other words.

The numbers in tests/golden/objectives are those of k-diffusion and diffusers, float64.
"""

import math
from functools import partial
from itertools import product

import numpy as np
import pytest
import torch
from torch import nn

from functions import weights
from functions.denoiser import Denoiser
from functions.grids import GRIDS
from functions.loss import mse
from functions.plan import solve
from functions.predictions import NEED_SIGNAL, PAIRS, pair, to_clean, to_noise
from functions.process import EDM, VP, VPSDE, Flow, VariancePreserving
from functions.samplers import SAMPLERS
from tests.analytic import GOLDEN, Blend, ExactNet, bank

with np.load(GOLDEN.parent / "objectives" / "objectives.npz") as found:
    STORED = {key: torch.from_numpy(found[key]) for key in found.files}
PROCESSES = {"vp": VP(), "cosine": VP("cosine"), "vpsde": VPSDE(), "flow": Flow(), "edm": EDM()}
DATA = Blend(*(STORED[f"mixture/{part}"] for part in "wms"))
STEPS = (5, 12)


def f64(*values):
    return torch.tensor(values, dtype=torch.float64)


def normal(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def inside(process):
    """Times between the ends of training."""
    return torch.lerp(*f64(*process.t_train), f64(0.004, 0.1, 0.35, 0.62, 0.9, 0.996))


def close(got, want, atol=1e-10, rtol=0.0):
    torch.testing.assert_close(got, want, atol=atol, rtol=rtol)


# --- the stored numbers -----------------------------------------------------------------------


def test_edms_preconditioning_equals_the_reference():
    a, b, c = STORED["edm/abc"]

    class Toy(nn.Module):
        def forward(self, x, t, label=None):
            return a * x + b * torch.tanh(x) + c * t.view(-1, 1, 1, 1)

    process, sigma = EDM(sigma_data=STORED["edm/sigma_data"].item()), STORED["edm/sigma"]
    x0, noise = STORED["edm/x0"], STORED["edm/noise"]
    denoiser = Denoiser(Toy(), process, "edm")
    close(denoiser.x0(process.perturb(x0, sigma, noise), sigma), STORED["edm/denoised"], 1e-6)
    close(denoiser.target(x0, noise, sigma), STORED["edm/target"])
    close(weights.edm(process, sigma), STORED["edm/weight"], 0, 1e-12)


def test_the_line_of_flow_matching_equals_the_reference():
    flow, t, x0, noise = Flow(), STORED["flow/t"], STORED["edm/x0"], STORED["edm/noise"]
    close(flow.perturb(x0, t, noise), STORED["flow/x_t"], 1e-14)
    target = Denoiser(nn.Identity(), flow, "velocity").target(x0, noise, t)
    close(target, STORED["flow/velocity"], 1e-14)


def last(plan, process, predicts, x, draws=()):
    """The sample of an exact network that was trained with `predicts`."""
    denoiser = Denoiser(ExactNet(DATA, process, predicts), process, predicts)
    return list(solve(plan, partial(denoiser.answer, plan.basis), x, bank(draws)))[-1]


@pytest.mark.parametrize("predicts", ["edm", "eps", "x0"])
@pytest.mark.parametrize("steps", STEPS)
def test_edms_walks_equal_k_diffusion(steps, predicts):
    low, high = STORED["edm/range"].tolist()
    process = EDM(low, high)
    grid = GRIDS["karras"](process, steps, rho=STORED["edm/rho"].item())
    close(grid, STORED[f"edm/karras/{steps}"], 0, 1e-12)
    x, draws = STORED["x_T"] * high, STORED[f"edm/churn_noise/{steps}"]
    churn, s_min, s_max, s_noise = STORED["edm/churn"].tolist()
    churned = {"churn": churn, "s_min": s_min, "s_max": s_max, "s_noise": s_noise}
    acts = [i for i, sigma in enumerate(grid[:-1].tolist()) if s_min <= sigma <= s_max]
    for theirs, name, options, noise in (
        ("euler", "ddim", {}, ()),
        ("euler", "euler", {}, ()),
        ("heun", "heun", {}, ()),
        ("heun_churn", "heun", churned, draws[acts]),
        ("dpmpp_2m", "dpm_solver_pp", {"order": 2, "lower_order_final": False}, ()),
        ("euler_ancestral", "ddim", {"eta": 1.0}, draws),
    ):
        got = last(SAMPLERS[name](process, grid, **options), process, predicts, x, noise)
        close(got, STORED[f"edm/{theirs}/{steps}"], 1e-9)


@pytest.mark.parametrize("predicts", ["velocity", "v", "x0"])
@pytest.mark.parametrize(("shift", "steps"), [*product((1, 3), STEPS)])
def test_the_walk_of_flow_matching_equals_diffusers(shift, steps, predicts):
    flow, theirs = Flow(), STORED[f"flow/shifted/{shift}/{steps}"]
    close(GRIDS["shifted"](flow, steps, float(shift)), theirs, 2e-7)  # theirs are float32
    for name in ("ddim", "euler"):
        got = last(SAMPLERS[name](flow, theirs), flow, predicts, STORED["x_T"])
        close(got, STORED[f"flow/euler/{shift}/{steps}"], 1e-6)


# --- predictions and their conversions --------------------------------------------------------


def words(process, t, predicts, x0, noise):
    """The right answer, and the state, for data and noise (B, 1, 4, 4)."""
    m, n = (c.view(-1, 1, 1, 1) for c in pair(process, t, predicts))
    return m * x0 + n * noise, process.perturb(x0, t, noise)


@pytest.mark.parametrize("process", PROCESSES.values(), ids=PROCESSES)
@pytest.mark.parametrize(("one", "other"), [*product(PAIRS, repeat=2)])
def test_every_prediction_says_the_same_as_every_other(one, other, process):
    t, x0, noise = inside(process), normal(6, 1, 4, 4), normal(6, 1, 4, 4, seed=1)
    answer, x = words(process, t, one, x0, noise)
    of = {}
    for name, solved in (("x0", to_clean), ("noise", to_noise)):
        of_answer, of_x = (c.view(-1, 1, 1, 1) for c in solved(process, t, one))
        of[name] = of_answer * answer + of_x * x
    # eps tells data over alpha, x0 tells noise over sigma: down to 4e-5 at these times
    close(of["x0"], x0), close(of["noise"], noise)
    want, _ = words(process, t, other, x0, noise)
    close(words(process, t, other, of["x0"], of["noise"])[0], want)


@pytest.mark.parametrize(
    ("process", "t", "silent"),
    [(Flow(), 1.0, True), (VP("jsd"), 999.0, True), (Flow(), 0.0, False), (EDM(), 0.0, False)],
    ids=["flow-1", "jsd-999", "flow-0", "edm-0"],
)
@pytest.mark.parametrize("predicts", PAIRS)
def test_at_the_ends_a_prediction_tells_what_can_be_told(predicts, process, t, silent):
    """All but eps tell the data where there is no signal, and all but x0 the noise where there is
    none. (A preconditioned network would, but its time is infinite without signal.)
    """
    t, x0, noise = f64(t), normal(1, 1, 4, 4), normal(1, 1, 4, 4, seed=1)
    answer, x = words(process, t, predicts, x0, noise)
    for solved, want in ((to_clean, x0), (to_noise, noise)):
        of_answer, of_x = solved(process, t, predicts)
        if predicts != ("eps" if silent else "x0"):
            close(of_answer * answer + of_x * x, want)
        else:  # it only repeats what x says there
            assert not (of_answer.isfinite() and of_x.isfinite())


@pytest.mark.parametrize("process", PROCESSES.values(), ids=PROCESSES)
@pytest.mark.parametrize("predicts", PAIRS)
def test_the_target_is_what_an_exact_network_answers(predicts, process):
    """With one image in the world nothing is left to expect: the answer is the target itself."""
    if predicts in NEED_SIGNAL and isinstance(process, Flow):
        pytest.skip("flow begins without signal")
    t, noise, x0 = inside(process), normal(6, 1, 4, 4), normal(1, 4, 4, seed=1)
    world = Blend([1.0], x0, torch.zeros(1, 4, 4))
    denoiser = Denoiser(ExactNet(world, process, predicts), process, predicts)
    x, x0 = process.perturb(x0.expand(6, 1, 4, 4), t, noise), x0.expand(6, 1, 4, 4)
    close(denoiser(x, t), denoiser.target(x0, noise, t))
    close(denoiser.x0(x, t), x0), close(denoiser.eps(x, t), noise)


@pytest.mark.parametrize("process", PROCESSES.values(), ids=PROCESSES)
@pytest.mark.parametrize("predicts", PAIRS)
def test_every_exact_network_knows_the_same_data(predicts, process):
    if predicts in NEED_SIGNAL and isinstance(process, Flow):
        pytest.skip("flow begins without signal")
    t = inside(process)
    x = process.perturb(0.5 * normal(6, 1, 4, 4), t, normal(6, 1, 4, 4, seed=1))
    denoiser = Denoiser(ExactNet(DATA, process, predicts), process, predicts)
    want = DATA.answers(process, x, t)
    close(denoiser.x0(x, t), want["x0"]), close(denoiser.eps(x, t), want["eps"])


# --- EDM's preconditioning --------------------------------------------------------------------


class Listener(nn.Module):
    """Answers 0 and keeps what it was shown and told."""

    def forward(self, x, t, label=None):
        self.x, self.t = x, t
        return torch.zeros_like(x)


@pytest.mark.parametrize("process", [VP(), VP("cosine"), VPSDE(), EDM(), EDM(sigma_data=1.3)])
def test_a_preconditioned_network_works_at_unit_variance(process):
    """Of data of standard deviation sigma_data: its input and its target have the variance 1 and no
    correlation (2206.00364, appendix B.6), at every time of every process.
    """
    t, heard = inside(process), Listener()
    denoiser, shares = Denoiser(heard, process, "edm"), []
    for x0, noise in ((process.sigma_data, 0.0), (0.0, 1.0)):  # all is linear in both
        x0, noise = (f64(value).expand(6, 1, 1, 1) for value in (x0, noise))
        denoiser(process.perturb(x0, t, noise), t)
        shares.append((heard.x.flatten(), denoiser.target(x0, noise, t).flatten()))
    (x_data, y_data), (x_noise, y_noise) = shares
    one = torch.ones(6).double()
    close(x_data**2 + x_noise**2, one), close(y_data**2 + y_noise**2, one)
    close(x_data * y_data + x_noise * y_noise, torch.zeros(6).double())
    close(heard.t, process.rho(t).log() / 4)


def test_one_preconditioned_network_is_one_denoiser_on_every_process():
    """It knows x/alpha and sigma/alpha only: trained on EDM, it can be sampled on VP."""

    class Toy(nn.Module):
        def forward(self, x, t, label=None):
            return 0.7 * x + 0.4 * torch.tanh(x) + 0.3 * t.view(-1, 1, 1, 1)

    level, x = f64(0.05, 0.3, 1.0, 4.0, 60.0), normal(5, 1, 4, 4)
    answers = []
    for process in (VP(), VP("cosine"), VPSDE(), EDM()):
        t = process.time_of(level)
        state = x * process.alpha(t).view(-1, 1, 1, 1) * (1 + level**2).sqrt().view(-1, 1, 1, 1)
        answers.append(Denoiser(Toy(), process, "edm").x0(state, t))
    for other in answers[1:]:
        close(other, answers[0], 1e-9)


# --- weights ----------------------------------------------------------------------------------


@pytest.mark.parametrize("process", PROCESSES.values(), ids=PROCESSES)
def test_a_weight_is_one_on_the_prediction_it_was_made_for(process):
    t, one = inside(process), torch.ones(6).double()
    close(weights.edm(process, t, predicts="edm"), one, 1e-10)
    close(weights.snr(process, t, predicts="eps"), one, 0)
    if isinstance(process, VariancePreserving):
        close(weights.snr_plus_one(process, t, predicts="v"), one, 1e-10)


def test_edms_weight_is_that_of_its_table():
    sigma, data = f64(0.002, 0.1, 1.0, 80.0), 0.5
    want = (sigma**2 + data**2) / (sigma * data) ** 2
    close(weights.edm(EDM(), sigma), want, 0, 1e-12)
    close(weights.edm(EDM(), sigma, predicts="eps"), want * sigma**2, 0, 1e-12)


class Angle(VariancePreserving):
    """alpha = cos(t), sigma = sin(t), t up to a right angle: the schedule on which v was defined
    (2202.00512, section 4).
    """

    steps, t_start, t_end, t_train = None, math.pi / 2, 0.0, (0.0, math.pi / 2)

    def log_abar(self, t):
        return 2 * torch.log(torch.cos(t.double()))

    def beta(self, t):
        return 2 * torch.tan(t.double())

    def time_of(self, rho):
        return torch.atan(rho.double())


class Student(nn.Module):
    """A network that is still wrong, of x/alpha and sigma/alpha, in the words of a prediction."""

    def __init__(self, process, predicts, t):
        super().__init__()
        self.process, self.predicts, self.t = process, predicts, t
        self.gain = nn.Parameter(f64(0.7, -0.2))

    def forward(self, x, t, label=None):
        alpha, rho = (f(self.t).view(-1, 1, 1, 1) for f in (self.process.alpha, self.process.rho))
        if self.predicts == "edm":  # it sees x at unit variance
            x = x * alpha * (rho**2 + self.process.sigma_data**2) ** 0.5
        y = x / alpha / (1 + rho)
        velocity = self.gain[0] * torch.tanh(y) + self.gain[1] * rho / (1 + rho)
        eps = y + velocity / (1 + rho)  # velocity = eps - x0 and x/alpha = x0 + rho eps
        m, n = (c.view(-1, 1, 1, 1) for c in pair(self.process, self.t, self.predicts))
        return m * (eps - velocity) + n * eps


def expected(process, predicts, weigh, ends):
    """Loss and its gradient, summed over all noise levels between `ends` (Gauss-Legendre in t)."""
    places, gauss = (torch.from_numpy(part) for part in np.polynomial.legendre.leggauss(400))
    low, high = process.time_of(f64(*ends))
    t = low + (high - low) * (places + 1) / 2
    x0, noise = (normal(1, 1, 4, 4, seed=seed).expand(400, 1, 4, 4) for seed in (0, 1))
    student = Student(process, predicts, t)
    losses = mse(Denoiser(student, process, predicts), x0, t, noise)
    total = (losses * weigh(process, t) * gauss).sum() * (high - low) / 2
    (gradient,) = torch.autograd.grad(total, student.gain)
    return torch.cat([total.detach()[None], gradient])


def even(process, t):
    return torch.ones_like(t)


def per_level(process, t, predicts):
    """d rho/dt times the weight that makes a squared error that of eps."""
    of_alpha, of_sigma = process.slopes(t)
    rise = (of_sigma - process.rho(t) * of_alpha) / process.alpha(t)
    return rise * weights.snr(process, t, predicts=predicts)


EQUALS = {  # to flow matching with uniform times: the integral of |eps error|^2 over sigma/alpha
    "v on the circle, uniform angle": (Angle(), "v", even),
    "eps on edm, uniform sigma": (EDM(), "eps", even),
    "x0 on edm, SNR": (EDM(), "x0", partial(weights.snr, predicts="x0")),
    **{f"{p} on vpsde": (VPSDE(), p, partial(per_level, predicts=p)) for p in PAIRS},
}


@pytest.mark.parametrize(("process", "predicts", "weigh"), EQUALS.values(), ids=EQUALS)
def test_flow_matching_is_the_same_training_as(process, predicts, weigh):
    """Uniform times and the squared error of the velocity weigh noise levels as v-prediction does
    with uniform angles; on other schedules as a density of levels times a weight (2303.00848;
    2403.03206, section 2): equal losses, equal gradients.
    """
    ends = (0.05, 20.0)
    want = expected(Flow(), "velocity", even, ends)
    close(expected(process, predicts, weigh, ends), want, 0, 1e-8)


def test_the_whole_of_flow_matching_is_the_whole_of_v():
    """Also at both ends, where there is no noise and where there is no signal."""
    places = f64(1e-7, 1 - 1e-7)
    ends = Flow().rho(places).tolist()
    want = expected(Flow(), "velocity", even, ends)
    close(expected(Angle(), "v", even, ends), want, 0, 1e-6)
