import weakref
from dataclasses import FrozenInstanceError, replace

import pytest
import torch

from functions.plan import Plan, Stage, solve
from functions.process import VP
from functions.samplers import SAMPLERS
from tests.analytic import bank


def number(value):
    return torch.tensor([[value]], dtype=torch.float64)


def step(t, s, j, A=0.9, B=0.1, **options):
    return Stage(t, s, number(A), {j: number(B)}, **options)


def noise(seed, *shape, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)


def heun():
    """Two steps of Heun's method on an equation written x' = h, from t = 4 over 2 to 1."""
    return Plan(
        (
            Stage(4.0, 2.0, number(1.0), {0: number(-2.0)}, commit=False),
            Stage(2.0, 2.0, number(1.0), {0: number(-1.0), 1: number(-1.0)}),
            Stage(2.0, 1.0, number(1.0), {2: number(-1.0)}, commit=False),
            Stage(1.0, 1.0, number(1.0), {2: number(-0.5), 3: number(-0.5)}),
        )
    )


def test_a_hand_made_heun_plan_equals_the_plain_method():
    x = noise(0, 2, 3, 4, 4)
    seen = []

    def slope(x, t):
        seen.append(t)
        return torch.sin(x) * t

    states = list(solve(heun(), slope, x))
    want, path = x, []
    for t, s in ((4.0, 2.0), (2.0, 1.0)):
        first = torch.sin(want) * t
        second = torch.sin(want + (s - t) * first) * s
        want = want + (s - t) * (first + second) / 2
        path.append(want)
    assert seen == [4.0, 2.0, 2.0, 1.0] and all(isinstance(t, float) for t in seen)
    torch.testing.assert_close(states, path, rtol=1e-13, atol=1e-13)  # and nothing in between


def test_a_stage_may_reuse_an_answer_without_asking():
    plan = Plan(
        (
            step(4.0, 3.0, 0),
            Stage(3.0, 2.0, number(0.5), {0: number(2.0)}, evaluate=False),
            Stage(2.0, 1.0, number(1.0), {0: number(1.0), 2: number(1.0)}),
        )
    )
    calls = []

    def predict(x, t):
        calls.append(t)
        return torch.full_like(x, t)

    states = [s.item() for s in solve(plan, predict, torch.ones(1).double())]
    assert calls == [4.0, 2.0] and plan.nfe == 2
    assert states == pytest.approx([1.3, 0.65 + 8, 8.65 + 4 + 2])


def test_noise_is_drawn_once_per_stage_with_c_and_in_the_order_of_stages():
    plan = Plan(
        (
            step(4.0, 3.0, 0, C=number(1.0)),
            step(3.0, 2.0, 1),
            step(2.0, 1.0, 2, C=number(10.0), commit=False),
            step(1.0, 0.0, 3, A=0.0, B=0.0, C=number(100.0)),
        )
    )
    events = []
    draws = bank([torch.full((2,), float(i)) for i in (1, 2, 3)])

    def predict(x, t):
        events.append(f"h{t:g}")
        return torch.zeros_like(x)

    def randn(x):
        events.append("z")
        assert x.shape == (2,) and x.dtype == torch.float64
        return draws(x)

    def project(x, s):
        events.append(f"p{s:g}")
        return x

    first, second, last = solve(plan, predict, torch.zeros(2).double(), randn, project)
    assert events == ["h4", "z", "p3", "h3", "p2", "h2", "z", "p1", "h1", "z", "p0"]
    assert first.tolist() == [1, 1] and second.tolist() == [0.9, 0.9]
    assert last.tolist() == [300, 300]


def test_project_replaces_every_new_state_and_the_walk_goes_on_from_it():
    seen = []

    def predict(x, t):
        seen.append((t, x.clone()))
        return x

    def project(x, s):
        return torch.full_like(x, s)

    states = list(solve(heun(), predict, torch.zeros(1), project=project))
    assert [(t, x.item()) for t, x in seen] == [(4, 0), (2, 2), (2, 2), (1, 1)]
    assert [s.item() for s in states] == [2, 1]


STATES = {
    "number": (((), 1), (2, 3, 4, 4)),
    "per pixel": (((4, 4), 1), (2, 3, 4, 4)),
    "2x2": (((), 2), (2, 6, 4, 4)),
}


@pytest.mark.parametrize("kind", STATES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_every_kind_of_coefficient_in_every_dtype(kind, dtype):
    """A two-step method with noise against the same sums written with einsum in float64."""
    (space, k), shape = STATES[kind]
    rows = [0.5 * noise(i, *space, k, k) for i in range(8)]
    plan = Plan(
        (
            Stage(2.0, 1.0, rows[0], {0: rows[1]}, rows[2]),
            Stage(1.0, 0.0, rows[3], {0: rows[4], 1: rows[5]}, rows[6]),
        )
    )
    x, *draws = (noise(10 + i, *shape, dtype=dtype) for i in range(3))

    def act(coef, x):
        parts = x.unflatten(1, (k, -1))
        inner = "hwij" if space else "ij"
        return torch.einsum(f"{inner},bjchw->bichw", coef, parts).flatten(1, 2)

    def predict(x, t):
        return torch.sin(x * t)

    h0 = predict(x.double(), 2.0)
    x1 = act(rows[0], x.double()) + act(rows[1], h0) + act(rows[2], draws[0].double())
    h1 = predict(x1, 1.0)
    x2 = act(rows[3], x1) + act(rows[4], h0) + act(rows[5], h1) + act(rows[6], draws[1].double())
    got = list(solve(plan, predict, x, bank(draws)))
    tolerance = {torch.float64: 1e-13, torch.float32: 3e-6, torch.bfloat16: 0.15}[dtype]
    for state, want in zip(got, (x1, x2), strict=True):
        assert state.dtype == dtype
        torch.testing.assert_close(state.double(), want, rtol=0, atol=tolerance)


def test_half_precision_states_see_coefficients_at_full_precision():
    fine = 1.5 + 0.9 * 2.0**-8  # no bfloat16 number: the nearest is 1.5
    x = torch.linspace(1, 2, 129)[:-1].bfloat16()  # every bfloat16 number from 1 to 2
    (got,) = solve(Plan((Stage(1.0, 0.0, number(fine), evaluate=False),)), lambda x, t: x, x)
    assert torch.equal(got, (x.double() * fine).bfloat16())
    assert not torch.equal(got, x * 1.5)


@pytest.mark.parametrize("sampler", [s for s in SAMPLERS if s != "rk45"])
def test_nothing_given_is_ever_changed(sampler):
    options = {"eta": 1.0} if sampler == "ddim" else {}
    plan = SAMPLERS[sampler](VP(), torch.tensor([900.0, 600, 400, 300, 100, -1]), **options)
    kept = []

    def remember(tensor):
        kept.append((tensor, tensor.clone()))
        return tensor

    def predict(x, t):
        remember(x)
        return remember(torch.sin(x))

    def randn(x):
        return remember(noise(len(kept), *x.shape))

    coefs = [
        c for stage in plan.stages for c in (stage.A, *stage.B.values(), *stage.X.values(), stage.C)
    ]
    coefs = [c for c in coefs if c is not None]
    for coef in coefs:
        remember(coef)
    for state in solve(plan, predict, remember(noise(0, 2, 3, 4, 4)), randn):
        remember(state)
    drawn = sum(stage.C is not None for stage in plan.stages)
    states = sum(stage.commit for stage in plan.stages)
    assert drawn == (4 if sampler in ("ddim", "ddpm") else 0) and states == 5
    assert len(kept) == len(coefs) + 1 + plan.nfe * 2 + drawn + states
    assert all(torch.equal(now, before) for now, before in kept)


@pytest.mark.parametrize("history", [1, 2, 3])
def test_answers_are_let_go_after_their_last_use(history):
    """A multistep method of the given history holds history - 1 old answers while it asks."""
    stages = [
        Stage(
            float(9 - i),
            float(8 - i),
            number(0.9),
            {j: number(0.1) for j in range(max(0, i - history + 1), i + 1)},
        )
        for i in range(8)
    ]
    alive: list[weakref.ref] = []
    held = []

    def predict(x, t):
        held.append(sum(ref() is not None for ref in alive))
        answer = torch.zeros(4)
        alive.append(weakref.ref(answer))
        return answer

    for _ in solve(Plan(tuple(stages)), predict, torch.zeros(4)):
        pass
    assert held == [min(i, history - 1) for i in range(8)]
    assert not any(ref() is not None for ref in alive)


def test_a_gradient_flows_through_the_whole_walk():
    x = noise(0, 2, 3).requires_grad_()
    *_, last = solve(heun(), lambda x, t: x * 0.5, x)
    (slope,) = torch.autograd.grad(last.sum(), x)
    torch.testing.assert_close(slope, torch.full_like(slope, 0.5 * 0.625))


def test_states_come_one_at_a_time():
    asked = []

    def predict(x, t):
        asked.append(t)
        return x

    walk = solve(Plan((step(3.0, 2.0, 0), step(2.0, 1.0, 1))), predict, torch.zeros(1))
    assert asked == []
    next(walk)
    assert asked == [3.0]


@pytest.mark.parametrize("shape", [(2, 1, 4, 4), (1, 3, 4, 4), (3, 4, 4)])
def test_an_answer_of_another_shape_is_refused_and_never_broadcast(shape):
    """A network of one channel would otherwise draw three equal ones."""
    with pytest.raises(ValueError, match=r"the network answers .* to a state \(2, 3, 4, 4\)"):
        list(solve(heun(), lambda x, t: torch.zeros(shape), torch.zeros(2, 3, 4, 4)))


ONE = step(2.0, 1.0, 0)


@pytest.mark.parametrize(
    ("stages", "says"),
    [
        ((), "at least one stage"),
        ((replace(ONE, commit=False),), "last stage must commit"),
        ((step(2.0, 1.0, 1), step(1.0, 0.0, 1)), "stage 0.*stage 1, which does not exist yet"),
        ((step(2.0, 1.0, -1),), "stage -1"),
        ((step(2.0, 1.0, 0, evaluate=False),), "stage 0, which does not exist"),
        ((ONE, step(1.5, 0.0, 1)), "stage 1.*at time 1 here"),
        ((replace(ONE, A=torch.ones(1, 1)),), "float64"),
        ((replace(ONE, A=torch.ones(()).double()),), r"\(\*S, k, k\)"),
        ((replace(ONE, A=torch.ones(1, 2).double()),), r"\(\*S, k, k\)"),
        ((replace(ONE, A=number(float("inf"))),), "stage 0.*not finite"),
        ((replace(ONE, B={0: number(float("nan"))}),), "not finite"),
        ((replace(ONE, C=number(float("nan"))),), "not finite"),
    ],
)
def test_a_plan_that_contradicts_itself_is_refused(stages, says):
    with pytest.raises(ValueError, match=says):
        Plan(tuple(stages))


def test_a_plan_has_one_of_two_bases_and_is_frozen():
    with pytest.raises(ValueError, match="eps, x0 or velocity, not 'v'"):
        Plan((ONE,), "v")
    with pytest.raises(FrozenInstanceError):
        Plan((ONE,)).basis = "x0"


def test_a_plan_prints_its_table():
    plan = Plan(
        (
            Stage(3.0, 2.0, number(0.5), {0: number(-0.25)}, number(0.125), commit=False),
            Stage(2.0, 1.0, number(1.0), {1: number(2.0), 0: number(-1.0)}),
            Stage(1.0, 0.5, number(1.0), evaluate=False),
        ),
        "x0",
    )
    assert str(plan).splitlines() == [
        "3 stages, 2 network evaluations, answers as x0",
        "   0          3 -> 2         x = +0.500000 x  -0.250000 h0  +0.125000 z  intermediate",
        "   1          2 -> 1         x = +1.000000 x  -1.000000 h0  +2.000000 h1",
        "   2          1 -> 0.5       x = +1.000000 x  no evaluation",
    ]


def test_a_plan_prints_matrices_and_the_range_of_maps():
    matrix = torch.tensor([[1.0, -0.5], [0.0, 2.0]], dtype=torch.float64)
    row = str(Plan((Stage(1.0, 0.0, matrix, {0: 0 * matrix}),))).splitlines()[1]
    assert "[[+1.0000 -0.5000] [+0.0000 +2.0000]] x" in row
    over = torch.tensor([0.25, 1.0], dtype=torch.float64).view(1, 2, 1, 1)
    row = str(Plan((Stage(1.0, 0.0, over, {0: over}),))).splitlines()[1]
    assert "<+0.2500 .. +1.0000> x  <+0.2500 .. +1.0000> h0" in row
