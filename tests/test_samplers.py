import math

import pytest
import torch

from functions.denoiser import Denoiser
from functions.grids import GRIDS
from functions.plan import Plan, solve
from functions.process import VP, VPSDE
from functions.samplers import SAMPLERS, ddim, ddpm
from tests.analytic import MODELS, ExactNet, Gauss, bank, golden

PROCESSES = {"vp": VP(), "cosine": VP("cosine"), "vpsde": VPSDE()}


def walk(plan: Plan, denoiser: Denoiser, x, randn=torch.randn_like):
    predict = denoiser.eps if plan.basis == "eps" else denoiser.x0
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


# --- order of convergence ---------------------------------------------------------------------

ORDERS = [("ddim", {}, 1)]  # (sampler, options, order of the global error)
SPANS = {"vp": (VP(), 900.0, 20.0), "vpsde": (VPSDE(), 0.9, 0.02)}


@pytest.mark.parametrize("span", SPANS.values(), ids=SPANS)
@pytest.mark.parametrize(("name", "options", "order"), ORDERS, ids=lambda v: str(v))
def test_deterministic_samplers_converge_at_their_order(name, options, order, span):
    """On Gaussian data the probability flow has an exact solution; halving the step must divide
    the error by 2^order, and the error must be small in the end.
    """
    process, start, end = span
    gauss, x = Gauss(), noises(1, 1, 1, 4, 4)[0]
    denoiser = denoiser_of("gauss", process)
    exact = gauss.flow(process, x, start, end)
    errors = []
    for steps in (20, 40, 80, 160):
        grid = torch.linspace(start, end, steps + 1, dtype=torch.float64)
        plan = SAMPLERS[name](process, grid, **options)
        errors.append((walk(plan, denoiser, x)[-1] - exact).abs().max().item())
    seen = [math.log2(a / b) for a, b in zip(errors[:-1], errors[1:], strict=True)]
    assert seen[-1] == pytest.approx(order, abs=0.15), seen
    assert errors[-1] < 0.02


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
]


def moments(plan: Plan, process, start: tuple[float, float]) -> tuple[float, float]:
    """Mean and standard deviation after a plan, pushed through exactly: a Gaussian's E[eps | x]
    is affine in x, so every stage is an affine map plus noise.
    """
    mean, variance = start[0], start[1] ** 2
    for i, stage in enumerate(plan.stages):
        denoiser = denoiser_of("gauss", process)
        ask = denoiser.eps if plan.basis == "eps" else denoiser.x0
        at = ask(torch.tensor([0.0, 1.0], dtype=torch.float64).view(2, 1, 1, 1), stage.t).flatten()
        B = stage.B[i].item()
        slope = stage.A.item() + B * (at[1] - at[0]).item()
        mean = slope * mean + B * at[0].item()
        variance = slope**2 * variance + (0 if stage.C is None else stage.C.item() ** 2)
    return mean, variance**0.5


@pytest.mark.parametrize("process", [VP(), VPSDE()], ids=["vp", "vpsde"])
@pytest.mark.parametrize(("name", "options"), STOCHASTIC, ids=lambda v: str(v))
def test_stochastic_samplers_converge_to_the_datas_mean_and_spread(name, options, process):
    gauss, errors = Gauss(), []
    for steps in (50, 100, 200, 400):
        grid = torch.linspace(process.t_start, process.t_end, steps + 1, dtype=torch.float64)
        want = gauss.marginal(process, process.t_end)
        got = moments(
            SAMPLERS[name](process, grid, **options),
            process,
            gauss.marginal(process, process.t_start),
        )
        assert got[0] == pytest.approx(want[0], abs=1e-9)
        errors.append(abs(got[1] - want[1]))
    assert all(b < 0.7 * a for a, b in zip(errors[:-1], errors[1:], strict=True)), errors
    assert errors[-1] < 0.01


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
    with pytest.raises(ValueError, match="at least 0, not -0.5"):
        ddim(VP(), grid, eta=-0.5)
    with pytest.raises(ValueError, match="eta 40 draws more noise"):
        ddim(VP(), grid, eta=40.0)
    with pytest.raises(ValueError, match="'large' or 'small', not 'learned'"):
        ddpm(VP(), grid, variance="learned")


def test_a_grid_may_be_of_any_number_type():
    want = ddim(VP(), torch.tensor([600.0, 300.0, -1.0]).double())
    for dtype in (torch.int64, torch.float32):
        got = ddim(VP(), torch.tensor([600, 300, -1]).to(dtype))
        assert str(got) == str(want)


def test_a_schedule_without_signal_left_is_refused_with_a_way_out():
    with pytest.raises(ValueError, match="begin the grid later"):
        SAMPLERS["ddim"](VP("jsd"), torch.tensor([999.0, 500.0, -1.0]))
    assert SAMPLERS["ddim"](VP("jsd"), torch.tensor([998.0, 500.0, -1.0])).nfe == 2


@pytest.mark.parametrize("process", [VP(), VPSDE()], ids=["vp", "vpsde"])
def test_a_hand_made_grid_is_checked(process):
    for bad in ([0.9, 0.9, 0.1], [0.1, 0.9], [0.9], [[0.9, 0.1]]):
        for make in SAMPLERS.values():
            with pytest.raises(ValueError, match="strictly decreasing"):
                make(process, torch.tensor(bad))
