import math
from functools import partial

import numpy as np
import pytest
import torch

from functions.denoiser import Denoiser
from functions.grids import GRIDS
from functions.plan import Plan, Stage, solve
from functions.process import VP, VPSDE
from functions.rows import checked, transfer
from functions.samplers import SAMPLERS, ddim, ddpm
from tests.analytic import MODELS, ExactNet, Gauss, bank, golden
from tests.orders import ORDERS

PROCESSES = {"vp": VP(), "cosine": VP("cosine"), "vpsde": VPSDE()}


def walk(plan: Plan, denoiser: Denoiser, x, randn=torch.randn_like):
    predict = partial(denoiser.answer, plan.basis)
    return list(solve(plan, predict, x, randn))


def denoiser_of(kind, process, clip=None):
    return Denoiser(ExactNet(MODELS[kind], process), process, clip=clip)


def noises(n, *shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return list(torch.randn(n, *shape, generator=generator, dtype=torch.float64))


# --- the stored trajectories of the DDIM repository -------------------------------------------


def moves(asked):
    """The reference's steps that go anywhere: its `quad` repeats times, and a repeated time is a
    step of length zero that still consumes a draw of noise.
    """
    following = [*asked[1:].tolist(), -1.0]
    return [k for k, (t, s) in enumerate(zip(asked.tolist(), following, strict=True)) if t != s]


def compare(plan, denoiser, z, key, steps_key, draws):
    """Every yielded state and every x0 on the way against one stored trajectory."""
    common = golden("common")
    steps, counted = moves(z[f"{steps_key}__model_t"]), []

    def randn(x):
        counted.append(x)
        return next(stored).to(x)

    stored = iter(common["noise_bank"][steps])
    states = walk(plan, denoiser, common["x_T"], randn)
    assert plan.nfe == len(steps) and len(counted) == draws(len(steps))
    want = z[f"{key}__xs"][[k + 1 for k in steps]]
    torch.testing.assert_close(torch.stack(states), want, rtol=0, atol=1e-10)
    for k in steps:
        x0 = denoiser.x0(z[f"{key}__xs"][k], float(z[f"{steps_key}__model_t"][k]))
        torch.testing.assert_close(x0, z[f"{key}__x0"][k], rtol=0, atol=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("eta", ["0", "0.5", "1"])
@pytest.mark.parametrize("steps", [10, 50])
@pytest.mark.parametrize("grid", ["uniform", "quad"])
def test_ddim_walks_the_stored_trajectories(grid, steps, eta, kind):
    vp, z = VP(), golden("ddim")
    plan = ddim(vp, GRIDS[grid](vp, steps), eta=float(eta))
    where = f"{grid}__steps{steps}"
    compare(
        plan,
        denoiser_of(kind, vp),
        z,
        f"{where}__eta{eta}__{kind}",
        where,
        draws=lambda n: n - 1 if float(eta) else 0,
    )


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("steps", [10, 50])
@pytest.mark.parametrize("grid", ["uniform", "quad"])
def test_ddpm_clipped_walks_the_stored_trajectories(grid, steps, kind):
    vp, z = VP(), golden("ddpm")
    plan = ddpm(vp, GRIDS[grid](vp, steps))
    where = f"{grid}__steps{steps}"
    denoiser = denoiser_of(kind, vp, clip=1.0)
    compare(plan, denoiser, z, f"{where}__{kind}", where, draws=lambda n: n - 1)


# --- the papers' own loops as oracles ---------------------------------------------------------


@pytest.mark.parametrize("process", PROCESSES.values(), ids=PROCESSES)
@pytest.mark.parametrize("eta", [0.0, 0.3, 1.0])
def test_ddim_equals_the_papers_loop(process, eta):
    """2010.02502, eq. 12 with eq. 16, on a grid of no regularity."""
    share = torch.tensor([1.0, 0.93, 0.61, 0.6, 0.22, 0.013]).double() * 0.97
    grid = torch.cat([share * process.t_start, torch.tensor([process.t_end]).double()])
    denoiser, z = denoiser_of("mixture", process), noises(6, 2, 1, 4, 4)
    x = want = noises(1, 2, 1, 4, 4, seed=1)[0]
    got = walk(ddim(process, grid, eta=eta), denoiser, x, bank(z))[-1]
    for i in range(6):
        a, b = (process.alpha(time).item() ** 2 for time in (grid[i], grid[i + 1]))
        eps = denoiser.eps(want, float(grid[i]))
        x0 = (want - math.sqrt(1 - a) * eps) / math.sqrt(a)
        sigma = eta * math.sqrt((1 - b) / (1 - a)) * math.sqrt(1 - a / b)
        want = math.sqrt(b) * x0 + math.sqrt(1 - b - sigma**2) * eps + sigma * z[i]
    torch.testing.assert_close(got, want, rtol=0, atol=1e-11)


@pytest.mark.parametrize("process", PROCESSES.values(), ids=PROCESSES)
@pytest.mark.parametrize("variance", ["large", "small"])
def test_ddpm_equals_the_papers_loop(process, variance):
    """2006.11239, algorithm 2 with beta = 1 - abar_t/abar_s, in its eps form."""
    share = torch.tensor([1.0, 0.93, 0.61, 0.6, 0.22, 0.013]).double() * 0.97
    grid = torch.cat([share * process.t_start, torch.tensor([process.t_end]).double()])
    denoiser, z = denoiser_of("mixture", process), noises(5, 2, 1, 4, 4)
    x = want = noises(1, 2, 1, 4, 4, seed=1)[0]
    got = walk(ddpm(process, grid, variance=variance), denoiser, x, bank(z))[-1]
    for i in range(6):
        a, b = (process.alpha(time).item() ** 2 for time in (grid[i], grid[i + 1]))
        beta = 1 - a / b
        eps = denoiser.eps(want, float(grid[i]))
        want = (want - beta / math.sqrt(1 - a) * eps) / math.sqrt(1 - beta)
        spread = beta if variance == "large" else beta * (1 - b) / (1 - a)
        want = want + (math.sqrt(spread) * z[i] if i < 5 else 0)
    torch.testing.assert_close(got, want, rtol=0, atol=1e-10)


@pytest.mark.parametrize("process", PROCESSES.values(), ids=PROCESSES)
def test_ddim_with_eta_one_is_ddpm_with_the_posterior_variance(process):
    """The paper's own remark below eq. 16: two builders, two bases, one sampler."""
    grid = torch.linspace(0.9 * process.t_start, process.t_end, 8, dtype=torch.float64)
    denoiser, z = denoiser_of("mixture", process), noises(7, 2, 1, 4, 4)
    x = noises(1, 2, 1, 4, 4, seed=1)[0]
    one = walk(ddim(process, grid, eta=1.0), denoiser, x, bank(z))
    two = walk(ddpm(process, grid, variance="small"), denoiser, x, bank(z))
    # the last step differs on purpose: DDPM adds no noise there, DDIM does unless s is clean
    for a, b in zip(one[:-1], two[:-1], strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-10)


# --- classical methods in t -----------------------------------------------------------------------


def slope_of(process, denoiser):
    """dx/dt of the probability flow, one number of the derivative after the other."""

    def slope(x, t):
        time = torch.tensor(float(t), dtype=torch.float64)
        of_alpha, of_sigma = process.slopes(time)
        eps, x0 = denoiser.eps(x, float(t)), denoiser.x0(x, float(t))
        return of_alpha * x0 + of_sigma * eps

    return slope


@pytest.mark.parametrize("method", ["euler", "heun", "rk4", "fon"])
def test_classical_methods_equal_the_loops_of_textbooks(method):
    """On the straight scalar equation dx/dt = f(x, t): Euler, Heun, Runge-Kutta, and
    Adams-Bashforth with slopes at the last four states.
    """
    process = VPSDE()
    denoiser = denoiser_of("mixture", process)
    f, x = slope_of(process, denoiser), noises(1, 2, 1, 4, 4, seed=1)[0]
    times = torch.linspace(0.9, 0.1, 8, dtype=torch.float64)
    want, slopes = x, []
    for t, s in zip(times[:-1].tolist(), times[1:].tolist(), strict=True):
        h, middle = s - t, (s + t) / 2
        slopes.insert(0, f(want, t))
        if method == "euler":
            want = want + h * slopes[0]
        elif method == "heun":
            want = want + h / 2 * (slopes[0] + f(want + h * slopes[0], s))
        elif method == "fon" and len(slopes) > 3:
            a, b, c, d = slopes[:4]
            want = want + h / 24 * (55 * a - 59 * b + 37 * c - 9 * d)
        else:
            a = slopes[0]
            b = f(want + h / 2 * a, middle)
            c = f(want + h / 2 * b, middle)
            want = want + h / 6 * (a + 2 * b + 2 * c + f(want + h * c, s))
    got = walk(SAMPLERS["classical"](process, times, method), denoiser, x)[-1]
    torch.testing.assert_close(got, want, rtol=0, atol=1e-11)


def test_euler_has_one_name_more():
    vp = VP()
    grid = GRIDS["uniform"](vp, 6)
    assert str(SAMPLERS["classical"](vp, grid, "euler")) == str(SAMPLERS["euler"](vp, grid))


# --- what every plan promises ---------------------------------------------------------------------

NFE = {  # published evaluations for S steps on a grid that ends at clean data
    "ddim": lambda s: s,
    "ddpm": lambda s: s,
    "s_pndm": lambda s: s + 1,
    "f_pndm": lambda s: s + 9,
    "ipndm": lambda s: s,
    "deis": lambda s: s,
    "rho_rk": lambda s: 2 * s - 1,
    "heun": lambda s: 2 * s - 1,
    "dpm_solver_pp": lambda s: s,
    "unipc": lambda s: s,
    "gddim": lambda s: s,
    "euler": lambda s: s,
    "dpm_single": lambda s: 2 * s - 1,
    "classical": lambda s: 2 * s - 1,
}


@pytest.mark.parametrize("name", NFE)
def test_every_sampler_spends_what_was_published_and_never_asks_at_the_clean_end(name):
    assert {*NFE, "rk45"} == set(SAMPLERS)
    for steps in (4, 10, 50):
        plan = SAMPLERS[name](VP(), GRIDS["uniform"](VP(), steps))
        assert plan.nfe == NFE[name](steps)
        assert plan.stages[-1].s == -1 and plan.stages[-1].commit
        assert all(stage.t >= 0 for stage in plan.stages if stage.evaluate)


# euler and classical do not know the linear part of the flow
EXACT = [(n, o) for n, o, _ in ORDERS if n not in ("euler", "classical")]
EXACT += [("heun", {"churn": 40.0}), ("ddpm", {}), ("dpm_single", {"eta": 1.0, "sde": True})]


@pytest.mark.slow
@pytest.mark.parametrize("grid", ["uniform", "karras", "power", "trailing", "logsnr", "quad"])
@pytest.mark.parametrize(("name", "options"), EXACT, ids=lambda v: str(v))
def test_a_single_data_point_is_found_exactly_by_every_sampler_on_every_grid(name, options, grid):
    """With one image in the world the noise in x is known, and constant along the way: whatever a
    sampler interpolates, it must arrive at that image. So the sums of every row are right.
    """
    vp, point = VP(), noises(1, 1, 1, 4, 4, seed=3)[0]
    plan = SAMPLERS[name](vp, GRIDS[grid](vp, 10), **options)

    def predict(x, t):
        time = torch.tensor(t, dtype=torch.float64)
        eps = (x - vp.alpha(time) * point) / vp.sigma(time)
        return eps if plan.basis == "eps" else point

    x = noises(1, 1, 1, 4, 4)[0]
    torch.testing.assert_close(list(solve(plan, predict, x))[-1], point, rtol=0, atol=1e-9)


def test_one_step_of_ancestral_sampling_need_not_end_at_clean_data():
    plan = ddpm(VPSDE(), torch.tensor([1.0, 1e-3]))
    assert plan.nfe == 1 and plan.stages[0].C is None


def test_an_inconsistent_row_is_refused():
    process, (t, s) = VP(), (torch.tensor(500.0).double(), torch.tensor(400.0).double())
    A, B = transfer(process, t, s)
    for wrong in (Stage(500.0, 400.0, A, {0: B * 1.001}), Stage(500.0, 400.0, A * 0.999, {0: B})):
        with pytest.raises(ArithmeticError, match="stage 0 is inconsistent"):
            checked(process, [wrong], "eps")
    assert checked(process, [Stage(500.0, 400.0, A, {0: B})], "eps").nfe == 1


def test_one_step_of_ddim_to_the_clean_end_is_the_predicted_data():
    denoiser, x = denoiser_of("mixture", VP()), noises(1, 2, 1, 4, 4)[0]
    (got,) = walk(ddim(VP(), torch.tensor([600.0, -1.0])), denoiser, x)
    torch.testing.assert_close(got, denoiser.x0(x, 600.0), rtol=0, atol=1e-12)


# --- stochastic samplers reach the data's distribution ------------------------------------------

STOCHASTIC = [
    ("ddim", {"eta": 1.0}),
    ("ddim", {"eta": 0.5}),
    ("ddpm", {"variance": "small"}),
    ("ddpm", {"variance": "large"}),
    ("heun", {"churn": 20.0}),
    ("gddim", {"lam": 0.5}),
    ("euler", {"lam": 1.0}),
    ("dpm_solver_pp", {"order": 1, "sde": True}),
    ("dpm_solver_pp", {"order": 2, "sde": True}),
    ("dpm_solver_pp", {"order": 3, "sde": True, "exact": True}),
    ("dpm_solver_pp", {"order": 2, "sde": True, "lam": 0.5}),
    ("dpm_single", {"order": 1, "eta": 1.0}),
    ("dpm_single", {"order": 2, "eta": 0.5}),
    ("dpm_single", {"order": 2, "eta": 1.0, "basis": "eps"}),
    ("dpm_single", {"order": 2, "eta": 1.0, "sde": True}),
    ("heun", {"churn": 20.0, "step": "dpm2"}),
]


def moments(plan: Plan, process, start: tuple[float, float]) -> tuple[float, float]:
    """Mean and standard deviation after a plan, pushed through exactly: a Gaussian's E[eps | x] is
    affine in x, so every state is a constant plus multiples of independent normal numbers.
    """
    denoiser = denoiser_of("gauss", process)
    ask = partial(denoiser.answer, plan.basis)
    drawn = sum(stage.C is not None for stage in plan.stages)
    x = base = np.array([start[0], start[1], *np.zeros(drawn)])  # constant, start, noises
    answers, used = {}, 2
    for i, stage in enumerate(plan.stages):
        if stage.evaluate:
            probe = torch.tensor([0.0, 1.0], dtype=torch.float64).view(2, 1, 1, 1)
            at_0, at_1 = ask(probe, stage.t).flatten().tolist()
            answers[i] = (at_1 - at_0) * x + at_0 * np.eye(len(x))[0]
        x = stage.A.item() * base + sum(b.item() * answers[j] for j, b in stage.B.items())
        if stage.C is not None:
            x[used] += stage.C.item()
            used += 1
        base = x if stage.commit else base
    return x[0], float(np.linalg.norm(x[1:]))


@pytest.mark.slow
@pytest.mark.parametrize("process", [VP(), VPSDE()], ids=["vp", "vpsde"])
@pytest.mark.parametrize(("name", "options"), STOCHASTIC, ids=lambda v: str(v))
def test_stochastic_samplers_converge_to_the_datas_mean_and_spread(name, options, process):
    gauss, errors = Gauss(), []
    for steps in (50, 400):
        grid = torch.linspace(process.t_start, process.t_end, steps + 1, dtype=torch.float64)
        want = gauss.marginal(process, process.t_end)
        got = moments(
            SAMPLERS[name](process, grid, **options),
            process,
            gauss.marginal(process, process.t_start),
        )
        # a line through answers keeps the mean; Euler's step does not
        exact = {"ddim": 1e-9, "ddpm": 1e-9, "gddim": 1e-9, "euler": 0.1}.get(name, 1e-3)
        assert got[0] == pytest.approx(want[0], abs=exact)
        errors.append(abs(got[1] - want[1]))
    # three halvings of a first-order error: 0.125; below 1e-3 a table's kinks show
    assert errors[-1] < max(0.35 * errors[0], 1e-3), errors
    assert errors[-1] < 0.01


@pytest.mark.slow
@pytest.mark.parametrize(("name", "options"), STOCHASTIC, ids=lambda v: str(v))
def test_drawn_samples_have_the_computed_mean_and_spread(name, options):
    """The walk itself, with real noise, against the moments pushed through exactly."""
    vp, n = VP(), 20_000
    plan = SAMPLERS[name](vp, GRIDS["uniform"](vp, 40), **options)
    generator = torch.Generator().manual_seed(0)

    def randn(x):
        return torch.randn(x.shape, generator=generator, dtype=x.dtype)

    x = randn(torch.empty(n, 1, 1, 1, dtype=torch.float64))
    last = walk(plan, denoiser_of("gauss", vp), x, randn)[-1]
    mean, spread = moments(plan, vp, (0.0, 1.0))
    assert last.mean().item() == pytest.approx(mean, abs=4.5 * spread / n**0.5)
    assert last.std().item() == pytest.approx(spread, rel=4.5 / (2 * n) ** 0.5)


def test_a_plan_can_be_walked_again_with_the_same_result():
    plan = ddim(VP(), torch.tensor([900.0, 450.0, -1.0]), eta=1.0)
    x, z = noises(1, 1, 1, 4, 4)[0], noises(2, 1, 1, 4, 4, seed=1)
    one, two = (walk(plan, denoiser_of("mixture", VP()), x, bank(z)) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))


# --- refusals ---------------------------------------------------------------------------------


def test_options_out_of_range_are_refused():
    grid = GRIDS["uniform"](VP(), 10)
    with pytest.raises(
        ValueError, match="eta -0.5 is not valid; it should be a number, at least 0"
    ):
        ddim(VP(), grid, eta=-0.5)
    with pytest.raises(ValueError, match="eta 40 draws more noise"):
        ddim(VP(), grid, eta=40.0)
    for name, options, message in [
        (
            "ddpm",
            {"variance": "huge"},
            "variance huge is not valid; it should be large, small or learned",
        ),
        ("deis", {"order": 9}, "order 9 is not valid; it should be a whole number from 0 to 3"),
        ("deis", {"variable": "x"}, "variable x is not valid; it should be t, rho or lambda"),
        ("deis", {"lower_order_final": True}, "lower_order_final belongs to variable lambda"),
        ("ipndm", {"order": 0}, "order 0 is not valid; it should be a whole number from 1 to 4"),
        ("rho_rk", {"tableau": "rk5"}, "tableau rk5 is not valid; it should be euler, .* or rk4"),
        ("heun", {"churn": -1.0}, "churn -1 is not valid; it should be a number, at least 0"),
        ("heun", {"s_noise": 1.1}, "need churn above 0"),
        ("heun", {"churn": 1.0, "s_min": 2.0, "s_max": 1.0}, "s_min <= s_max"),
        (
            "dpm_solver_pp",
            {"order": 4},
            "order 4 is not valid; it should be a whole number from 1 to 3",
        ),
        ("dpm_solver_pp", {"sde": True, "basis": "eps"}, "basis should be x0, not eps"),
        ("unipc", {"variant": "bh3"}, "variant bh3 is not valid; it should be bh2 or bh1"),
        ("dpm_solver_pp", {"basis": "velocity"}, "basis velocity is not valid; it should be x0 or"),
        ("dpm_solver_pp", {"lam": 0.5}, "lam and s_noise need sde true"),
        ("dpm_single", {"sde": True}, "s_noise and sde need eta above 0"),
        ("dpm_single", {"s_noise": 1.1}, "s_noise and sde need eta above 0"),
        ("dpm_single", {"order": 3, "eta": 1.0}, "eta 1 goes with order 1 or 2 and with nodes own"),
        ("dpm_single", {"nodes": "grid", "eta": 1.0}, "goes with order 1 or 2 and with nodes own"),
        ("dpm_single", {"eta": 2.0}, "eta 2 goes with order 1; order 2 takes at most 1"),
        (
            "dpm_single",
            {"sde": True, "eta": 1.0, "basis": "eps"},
            "sde goes with order 2, basis x0",
        ),
        ("classical", {"method": "rk5"}, "method rk5 is not valid; it should be euler, .* or fon"),
    ]:
        with pytest.raises(ValueError, match=message):
            SAMPLERS[name](VP(), grid, **options)


@pytest.mark.parametrize(
    ("name", "options", "least"),
    [
        ("s_pndm", {}, 2),
        ("f_pndm", {}, 4),
        ("ipndm", {"order": 3}, 3),
        ("deis", {"order": 2}, 3),
        ("dpm_solver_pp", {"order": 3}, 3),
        ("unipc", {"order": 2}, 2),
        ("classical", {"method": "fon"}, 4),
    ],
)
def test_an_order_without_enough_steps_is_refused(name, options, least):
    assert SAMPLERS[name](VP(), GRIDS["uniform"](VP(), least), **options).stages
    with pytest.raises(ValueError, match=f"needs at least {least} steps, not {least - 1}"):
        SAMPLERS[name](VP(), GRIDS["uniform"](VP(), least - 1), **options)


def test_a_grid_may_be_of_any_number_type():
    want = ddim(VP(), torch.tensor([600.0, 300.0, -1.0]).double())
    for dtype in (torch.int64, torch.float32):
        got = ddim(VP(), torch.tensor([600, 300, -1]).to(dtype))
        assert str(got) == str(want)


def test_a_walk_from_a_time_without_signal_asks_for_data():
    times = torch.tensor([999.0, 700.0, 400.0, 200.0, 100.0, -1.0])
    for name in SAMPLERS.keys() - {"euler", "classical", "rk45"}:  # of them the slope is infinite
        assert SAMPLERS[name](VP("jsd"), times).basis in ("x0", "velocity")
    assert SAMPLERS["ddim"](VP("jsd"), torch.tensor([998.0, 500.0, -1.0])).basis == "eps"
    with pytest.raises(ValueError, match="begin the grid later"):
        SAMPLERS["dpm_solver_pp"](VP("jsd"), times, basis="eps")
    with pytest.raises(ValueError, match="no signal and its noise no finite rate; take gddim"):
        SAMPLERS["euler"](VP("jsd"), times, lam=1.0)
    with pytest.raises(ValueError, match="begin the grid later"):
        SAMPLERS["euler"](VP("jsd"), times)


@pytest.mark.parametrize("process", [VP(), VPSDE()], ids=["vp", "vpsde"])
def test_a_hand_made_grid_is_checked(process):
    for bad in ([0.9, 0.9, 0.1], [0.1, 0.9], [0.9], [[0.9, 0.1]]):
        for make in SAMPLERS.values():
            with pytest.raises(ValueError, match="strictly decreasing"):
                make(process, torch.tensor(bad))
