"""Every sampler against what the original implementations left: tests/golden/vp, float64."""

import math

import pytest
import torch

from functions import adaptive
from functions.grids import GRIDS
from functions.plan import solve
from functions.process import VP, VPSDE
from functions.samplers import SAMPLERS
from tests.analytic import MODELS, golden

PNDM, DEIS, DISCRETE, DIFFUSERS = map(golden, ("pndm", "deis", "deis_discrete", "diffusers"))
START = golden("common")["x_T"]
TABLEAUX = {
    "1euler": "euler",
    "2heun": "heun",
    "3kutta": "kutta3",
    "3ral": "ralston3",
    "3heun": "heun3",
    "3vdh": "van_der_houwen3",
    "3ssprk": "ssp3",
    "4rk": "rk4",
}


def walk(plan, process, kind, floor=False, x=START):
    """The sample of an exact model, which the references ask at the integer below t."""

    def predict(x, t):
        time = torch.tensor(math.floor(t) if floor else t, dtype=torch.float64)
        abar = process.alpha(time) ** 2
        eps = MODELS[kind].eps(x, abar)
        return eps if plan.basis == "eps" else (x - (1 - abar) ** 0.5 * eps) / abar**0.5

    return list(solve(plan, predict, x))


def close(got, want, atol):
    torch.testing.assert_close(got, want, rtol=0, atol=atol)


# --- PNDM ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("steps", [10, 20])
@pytest.mark.parametrize(("name", "theirs", "extra"), [("s_pndm", "S", 1), ("f_pndm", "F", 9)])
def test_pndm_equals_the_reference_with_either_index(name, theirs, extra, steps, kind):
    key = f"{theirs}-PNDM__steps{steps}"
    times = PNDM[f"steps{steps}__seq"].flip(0).tolist()
    grid, vp = torch.tensor([*times, -1.0]).double(), VP()
    plan = SAMPLERS[name](vp, grid)
    assert plan.nfe == steps + extra == len(PNDM[f"{key}__model_t"])
    asked = [stage.t for stage in plan.stages if stage.evaluate]
    assert asked == PNDM[f"{key}__model_t"].tolist()
    close(walk(plan, vp, kind, floor=True)[-1], PNDM[f"{key}__{kind}__final_prepended1"], 1e-10)
    shifted = walk(SAMPLERS[name](vp, grid, shifted=True), vp, kind, floor=True)
    close(torch.stack([START, *shifted]), PNDM[f"{key}__{kind}__xs"], 1e-10)


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("n", [5, 10])
def test_ipndm_equals_the_deis_repository(n, kind):
    grid = DEIS[f"rev_ts__t1__n{n}"]
    got = walk(SAMPLERS["ipndm"](VPSDE(), grid), VPSDE(), kind)
    close(got[-1], DEIS[f"final__t1__n{n}__ipndm__{kind}"], 1e-10)


# --- DEIS on the continuous process ---------------------------------------------------------------

CONTINUOUS = sorted(key[8:] for key in DEIS if key.startswith("rev_ts__"))


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("order", range(4))
@pytest.mark.parametrize(
    ("variable", "theirs", "riemann"), [("t", "t_ab", 8e-3), ("rho", "rho_ab", 6e-5)]
)
@pytest.mark.parametrize("ts", CONTINUOUS)
def test_deis_equals_the_reference(ts, variable, theirs, riemann, order, kind):
    """Within 1e-9 of its tables with accurate quadrature; its own left Riemann sums of 10,000
    points are off by what the manifest states: 7.5e-3 in t and 5.4e-5 in rho at most.
    """
    sde = VPSDE()
    got = walk(SAMPLERS["deis"](sde, DEIS[f"rev_ts__{ts}"], order, variable), sde, kind)[-1]
    close(got, DEIS[f"final__{ts}__{theirs}{order}__{kind}"], riemann)
    if f"finalquad__{ts}__{theirs}{order}__{kind}" in DEIS:
        close(got, DEIS[f"finalquad__{ts}__{theirs}{order}__{kind}"], 1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("theirs", TABLEAUX)
@pytest.mark.parametrize("ts", CONTINUOUS)
def test_rho_rk_equals_the_reference(ts, theirs, kind):
    sde = VPSDE()
    plan = SAMPLERS["rho_rk"](sde, DEIS[f"rev_ts__{ts}"], TABLEAUX[theirs])
    assert plan.nfe == int(theirs[0]) * (len(DEIS[f"rev_ts__{ts}"]) - 1)
    close(walk(plan, sde, kind)[-1], DEIS[f"final__{ts}__rho_rk_{theirs}__{kind}"], 1e-10)


# --- DEIS on a table --------------------------------------------------------------------------


class LinearAbar(VP):
    """The reference's discrete process: abar itself is linear between indices, not its log."""

    def log_abar(self, t):
        low = t.double().floor()
        weight = t.double() - low
        left, right = (super(LinearAbar, self).log_abar(i) for i in (low, (low + 1).clamp(max=999)))
        return torch.log(left.exp() + weight * (right.exp() - left.exp()))

    def time_of(self, rho):
        abar, table = 1 / (1 + rho**2), self.log_abar(torch.arange(1000.0)).exp()
        right = torch.searchsorted(-table, -abar).clamp(1, 999)
        return right - 1 + (table[right - 1] - abar) / (table[right - 1] - table[right])


DISCRETE_QUAD = [k for k in DISCRETE if k.startswith("finalquad__") and "__n10__" in k]
DISCRETE_OTHER = [k for k in DISCRETE if k.startswith("final__")]


@pytest.mark.slow
@pytest.mark.parametrize("key", DISCRETE_QUAD + DISCRETE_OTHER)
def test_deis_equals_the_reference_on_a_tabulated_schedule(key):
    _, ts, n, method, kind, _ = key.split("__")
    grid, process = DISCRETE[f"rev_ts__{ts}__{n}"].double(), LinearAbar()
    if method == "ipndm":
        plan = SAMPLERS["ipndm"](process, grid)
    elif method.startswith("rho_rk"):
        plan = SAMPLERS["rho_rk"](process, grid, TABLEAUX[method.removeprefix("rho_rk_")])
    else:
        variable = "t" if method.startswith("t_ab") else "rho"
        plan = SAMPLERS["deis"](process, grid, int(method[-1]), variable)
    close(walk(plan, process, kind)[-1], DISCRETE[key], 1e-9)


@pytest.mark.parametrize("kind", MODELS)
def test_our_own_interpolation_hardly_differs_from_theirs(kind):
    """On integer times the tables agree; between them log abar is linear here."""
    grid = DISCRETE["rev_ts__t2__n50"].double()
    got = walk(SAMPLERS["deis"](VP(), grid, 3, "t"), VP(), kind)[-1]
    close(got, DISCRETE[f"finalquad__t2__n50__t_ab3__{kind}__interp"], 1e-5)


# --- diffusers ------------------------------------------------------------------------------------

PEERS = {
    "deis1": ("deis", {"order": 0}, 0.0),
    "deis2": ("deis", {"order": 1, "variable": "lambda"}, 0.0),
    "deis3": ("deis", {"order": 2, "variable": "lambda", "lower_order_final": False}, 0.0),
    "deis2_lowered": ("deis", {"order": 1, "variable": "lambda", "lower_order_final": True}, 0.0),
    "deis3_lowered": ("deis", {"order": 2, "variable": "lambda", "lower_order_final": True}, 0.0),
    "dpmpp1": ("dpm_solver_pp", {"order": 1}, -1.0),
    "dpmpp2": ("dpm_solver_pp", {"order": 2}, -1.0),
    "dpmpp2_heun": ("dpm_solver_pp", {"order": 2, "exact": True}, -1.0),
    "dpmpp3": ("dpm_solver_pp", {"order": 3}, -1.0),
    "dpmpp2_sigmamin": ("dpm_solver_pp", {"order": 2, "lower_order_final": False}, 0.0),
    "dpmpp3_sigmamin": ("dpm_solver_pp", {"order": 3, "lower_order_final": False}, 0.0),
    "dpm2_sigmamin": ("dpm_solver_pp", {"order": 2, "basis": "eps"}, 0.0),
    "unipc2": ("unipc", {"order": 2}, -1.0),
    "unipc3": ("unipc", {"order": 3}, -1.0),
    "unipc2_bh1_sigmamin": ("unipc", {"order": 2, "variant": "bh1"}, 0.0),
    "unipc3_eps_sigmamin": ("unipc", {"order": 3, "basis": "eps"}, 0.0),
    "heun_leading": ("heun", {}, -1.0),
}


# the scheduler of DEIS lowers its last orders below 15 steps, and only there
LOWERED = {"deis2": (20,), "deis3": (20,), "deis2_lowered": (10,), "deis3_lowered": (10,)}
RUNS = [(peer, steps) for peer in PEERS for steps in LOWERED.get(peer, (10, 20))]


@pytest.mark.slow
@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize(("peer", "steps"), RUNS)
def test_samplers_equal_the_schedulers_of_diffusers(peer, steps, kind):
    name, options, end = PEERS[peer]
    peer = peer.removesuffix("_lowered")
    times = DIFFUSERS[f"timesteps__{peer}__steps{steps}"].double().unique().flip(0)
    vp, x = VP(), START
    if peer == "heun_leading":  # walks in x/alpha
        x = DIFFUSERS[f"x_init__{peer}__steps{steps}"] * vp.alpha(times[0])
    plan = SAMPLERS[name](vp, torch.cat([times, torch.tensor([end]).double()]), **options)
    got = walk(plan, vp, kind, floor=True, x=x)[-1]
    close(got, DIFFUSERS[f"final__{peer}__steps{steps}__{kind}"], 1e-9)


# --- the adaptive probability flow ----------------------------------------------------------------


@pytest.mark.parametrize("kind", MODELS)
def test_rk45_finds_the_reference_solution(kind):
    sde, calls = VPSDE(), []

    def predict(x, t):
        calls.append(t)
        return MODELS[kind].eps(x, (sde.alpha(t) ** 2).view(-1, 1, 1, 1))

    flow = SAMPLERS["rk45"](sde, GRIDS["uniform"](sde, 1), rtol=1e-9, atol=1e-9)
    *_, last = adaptive.solve(flow, predict, START)
    close(last, PNDM[f"PF__final__tol1e-10__{kind}"], 1e-7)
    assert all(t.min() >= 1e-3 and t.max() <= 1 for t in calls)
