"""Densities of training times: what is drawn, what is learned, and what the gradient becomes."""

import math

import pytest
import torch
from torch import nn

from functions.denoiser import Denoiser
from functions.loss import LOSSES
from functions.process import CLD, EDM, VP, VPSDE, Flow
from functions.times import TIMES
from functions.times.loss_second_moment import HISTORY, UNIFORM
from functions.weights import WEIGHTS, p2
from tests.analytic import golden

N = 40_000


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def learned(process, seed=0):
    """loss_second_moment after many losses that rise with t."""
    times = TIMES["loss_second_moment"](process)
    t, _ = TIMES["uniform"](process).sample(20 * times.count, seeded(seed))
    times.update(t, 0.1 + t / process.t_train[1] + 0.1 * torch.rand(len(t), generator=seeded(1)))
    return times


MADE = {name: (lambda process, name=name: TIMES[name](process)) for name in TIMES}
MADE["learned"] = learned


def chi_square(counts, chances):
    """Of the cells with enough draws, the others together; and its degrees of freedom."""
    many = chances * N > 8
    kept = torch.cat([chances[many], chances[~many].sum()[None]]) * N
    seen = torch.cat([counts[many], counts[~many].sum()[None]])
    use = kept > 1
    return float(((seen - kept)[use] ** 2 / kept[use]).sum()), int(use.sum()) - 1


@pytest.mark.parametrize("name", MADE)
def test_discrete_times_are_drawn_as_the_density_says(name):
    times = MADE[name](VP(steps=20))
    t, chances = times.density()
    drawn, _ = times.sample(N, seeded())
    assert drawn.dtype == torch.int64 and t.tolist() == [*range(20)]
    assert chances.dtype == torch.float64 and abs(float(chances.sum()) - 1) < 1e-12
    value, freedom = chi_square(torch.bincount(drawn, minlength=20).double(), chances)
    assert value < freedom + 8 * math.sqrt(2 * freedom)  # pairs double it


@pytest.mark.parametrize("process", [VPSDE(), Flow(), EDM()], ids=["vpsde", "flow", "edm"])
@pytest.mark.parametrize("name", [name for name in MADE if name != "learned"])
def test_continuous_times_are_drawn_as_the_density_says(name, process):
    low, high = process.t_train
    times = MADE[name](process)
    t, chances = times.density()
    drawn, _ = times.sample(N, seeded())
    assert drawn.dtype == torch.float32 and drawn.min() >= low and drawn.max() <= high
    cell = (process.share_of(drawn.double()) * len(t)).long().clamp(0, len(t) - 1)
    counts = torch.bincount(cell, minlength=len(t)).double()
    coarse = (counts.view(100, -1).sum(1), chances.view(100, -1).sum(1))
    value, freedom = chi_square(*coarse)
    assert value < freedom + 8 * math.sqrt(2 * freedom)


def test_continuous_times_fill_their_cells():
    drawn, _ = TIMES["under"](VPSDE()).sample(N, seeded())
    assert len(drawn.unique()) > 0.99 * N
    inside = drawn.double() * 1000 % 1
    assert abs(float(inside.mean()) - 0.5) < 0.01


@pytest.mark.parametrize("gamma", ["0.5", "1"])
def test_the_under_sampler_equals_its_code(gamma):
    want = golden("p2")[f"under_p__linear__gamma{gamma}__k1"]
    got = TIMES["under"](VP(), gamma=float(gamma), k=1.0).probabilities
    torch.testing.assert_close(got, want, rtol=0, atol=1e-12)


@pytest.mark.parametrize("loss", ["simple", "skip"])
def test_the_under_sampler_has_the_gradient_of_p2(loss):
    """Exact expectations over all times: equal up to the constant that p is divided by."""
    torch.manual_seed(0)
    process = VP(steps=50)
    network = Linear().double()
    x0, noise = torch.randn(2, 50, 1, 4, 4, dtype=torch.float64)
    t, options = torch.arange(50), {"skip_noise": "closed_form"} if loss == "skip" else {}
    losses = LOSSES[loss](Denoiser(network, process), x0, t, noise, **options)
    weight, chances = p2(process, t, k=2.0, gamma=0.7), TIMES["under"](process, 0.7, 2.0).density()
    by_weight = gradient((weight * losses).mean(), network)
    by_times = gradient((chances[1] * losses).sum(), network)
    torch.testing.assert_close(by_times * weight.mean(), by_weight, rtol=1e-12, atol=0)
    assert not torch.allclose(gradient(losses.mean(), network) * weight.mean(), by_weight)


class Linear(nn.Module):
    """One linear map of pixels and time."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(17, 16)

    def forward(self, x, t, label=None):
        return self.inner(torch.cat([x.flatten(1), t.to(x)[:, None] / 50], 1)).view_as(x)


def gradient(value, network):
    found = torch.autograd.grad(value, list(network.parameters()), retain_graph=True)
    return torch.cat([part.flatten() for part in found])


def test_the_second_moment_is_that_of_the_last_losses():
    """The paper's rule by hand, on three times."""
    times = TIMES["loss_second_moment"](VP(steps=3))
    history = {t: [] for t in range(3)}
    torch.manual_seed(0)
    for _ in range(30):
        t, loss = torch.randint(0, 3, (4,)), torch.rand(4)
        times.update(t, loss)
        for time, value in zip(t.tolist(), loss.tolist(), strict=True):
            history[time].append(value)
        warm = all(len(values) >= HISTORY for values in history.values())
        root = [math.sqrt(sum(v**2 for v in values[-10:]) / 10) for values in history.values()]
        want = [(1 - UNIFORM) * r / sum(root) + UNIFORM / 3 for r in root] if warm else [1 / 3] * 3
        torch.testing.assert_close(times.probabilities, torch.tensor(want).double())
    assert warm


def test_importance_weights_undo_the_density():
    times = learned(VP(steps=20))
    t, weight = times.sample(N, seeded())
    assert float(times.probabilities.max()) > 1.5 / 20
    torch.testing.assert_close(weight, (1 / (20 * times.probabilities[t])).float())
    value = (weight * torch.cos(t / 3)).mean()
    torch.testing.assert_close(value, torch.cos(torch.arange(20) / 3).mean(), rtol=0, atol=0.02)


def test_what_was_learned_can_be_kept():
    times = learned(VP(steps=20))
    other = TIMES["loss_second_moment"](VP(steps=20))
    other.load(times.state())
    assert torch.equal(other.probabilities, times.probabilities)
    assert [name for name in TIMES if TIMES[name].learns] == ["loss_second_moment"]
    assert TIMES["under"](VP()).state() == {}


def test_noise_levels_are_those_of_edm():
    process = VPSDE()
    t, _ = TIMES["lognormal_sigma"](process, -1.0, 0.5).sample(N, seeded())
    level = process.rho(t).log()
    assert abs(float(level.mean()) + 1) < 0.01 and abs(float(level.std()) - 0.5) < 0.01


def test_logit_normal_times_rise_with_their_mean():
    t, _ = TIMES["logit_normal"](VP(), 1.0, 0.5).sample(N, seeded())
    z = torch.logit((t.double() + 0.5) / 1000)
    assert abs(float(z.mean()) - 1) < 0.01 and abs(float(z.std()) - 0.5) < 0.01


def test_log_normal_noise_levels_are_logit_normal_times_of_flow():
    one = TIMES["lognormal_sigma"](Flow(), 0.4, 1.3)
    other = TIMES["logit_normal"](Flow(), 0.4, 1.3)
    for got, want in (
        (one.sample(N, seeded())[0], other.sample(N, seeded())[0]),
        (one.density()[1].cumsum(0)[:-1], other.density()[1].cumsum(0)[:-1]),
    ):
        torch.testing.assert_close(got, want, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("scale", [-1.0, -0.4, 0.0, 0.81, 1.29, 2 / (math.pi - 2)])
def test_mode_weighted_times_are_those_of_the_paper(scale):
    """Its density |d u/d f|, from the slope of f by hand (2403.03206, section 3.1)."""
    times, u = TIMES["mode"](Flow(), scale), torch.linspace(0, 1, 20_001).double()
    share = 1 - u - scale * (torch.cos(math.pi / 2 * u) ** 2 - 1 + u)
    assert (share.diff() <= 0).all() and share[0] == 1 and abs(float(share[-1])) < 1e-12
    t, chances = times.density()
    slope = 1 + scale - scale * math.pi / 2 * torch.sin(math.pi * u)  # -df/du
    at = 20_000 - torch.searchsorted(share.flip(0).contiguous(), t)
    inner = slope[at] > 0.3  # at both bounds of scale the density has a pole
    torch.testing.assert_close((1000 * chances)[inner], (1 / slope[at])[inner], rtol=1e-3, atol=0)
    middle = float(chances[400:600].sum())
    assert (middle > 0.2) == (scale > 0) or scale == 0
    drawn, _ = times.sample(N, seeded())
    assert abs(float(((drawn > 0.4) & (drawn < 0.6)).float().mean()) - middle) < 0.01


@pytest.mark.parametrize("scale", [-1.01, 2 / (math.pi - 2) + 1e-6])
def test_mode_weighted_times_that_would_turn_back_are_refused(scale):
    u = torch.linspace(0, 1, 20_001).double()
    share = 1 - u - scale * (torch.cos(math.pi / 2 * u) ** 2 - 1 + u)
    assert scale > 0 or (share.diff() > 0).any()  # the paper's interval is the whole one
    with pytest.raises(ValueError, match="scale .* is not valid; it should be a number from -1 to"):
        TIMES["mode"](Flow(), scale)


def test_cosmap_draws_uniform_angles():
    """2 / (pi (1 - 2t + 2t^2)) on flow (2403.03206, section 3.1); uniform where alpha = cos."""
    t, chances = TIMES["cosmap"](Flow()).density()
    want = 2 / (math.pi * (1 - 2 * t + 2 * t**2))
    torch.testing.assert_close((1000 * chances)[1:-1], want[1:-1], rtol=1e-5, atol=0)
    drawn, _ = TIMES["cosmap"](VPSDE()).sample(N, seeded())
    angle = torch.atan(VPSDE().rho(drawn.double()))
    assert float((angle.sort()[0] - torch.linspace(0, math.pi / 2, N)).abs().max()) < 0.02


@pytest.mark.parametrize("process", [Flow(), EDM()], ids=["flow", "edm"])
@pytest.mark.parametrize("name", TIMES)
def test_no_time_and_no_weight_is_infinite_at_the_ends(name, process):
    """The ends themselves may be drawn: flow without noise, or without signal."""
    t, weight = TIMES[name](process).sample(N, seeded())
    low, high = (torch.tensor(end) for end in process.t_train)
    t = torch.cat([t, low[None], high[None]])
    assert weight.isfinite().all() and t.isfinite().all()
    assert (t >= low).all() and (t <= high).all()
    x0, noise = torch.randn(2, len(t), 1, 1, 1, generator=seeded())
    for predicts in ("velocity", "v", "x0"):
        denoiser = Denoiser(Zero(), process, predicts)
        losses = LOSSES["simple"](denoiser, x0, t, noise)
        for part in WEIGHTS.parts.values():
            factor = part.make({}, process=process, t=t, predicts=predicts)
            assert (losses * factor.float()).isfinite().all(), (predicts, part)


class Zero(nn.Module):
    """Answers nothing."""

    def forward(self, x, t, label=None):
        return torch.zeros_like(x)


def test_densities_that_do_not_fit_are_refused():
    for name in ("under", "lognormal_sigma", "cosmap"):
        with pytest.raises(ValueError, match=f"density of times {name} is defined for processes"):
            TIMES[name](CLD())
    with pytest.raises(ValueError, match="std 0 is not valid; it should be a number above 0"):
        TIMES["logit_normal"](VP(), std=0.0)
