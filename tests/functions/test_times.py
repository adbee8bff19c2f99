"""Densities of training times: what is drawn, what is learned, and what the gradient becomes."""

import math

import pytest
import torch
from torch import nn

from functions.denoiser import Denoiser
from functions.loss import LOSSES
from functions.process import CLD, VP, VPSDE
from functions.times import TIMES
from functions.times.loss_second_moment import HISTORY, UNIFORM
from functions.weights import p2
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


@pytest.mark.parametrize("name", [name for name in MADE if name != "learned"])
def test_continuous_times_are_drawn_as_the_density_says(name):
    process = VPSDE()
    low, high = process.t_train
    times = MADE[name](process)
    t, chances = times.density()
    drawn, _ = times.sample(N, seeded())
    assert drawn.dtype == torch.float32 and drawn.min() >= low and drawn.max() <= high
    cell = ((drawn.double() - low) / (high - low) * len(t)).long().clamp(max=len(t) - 1)
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


def test_densities_that_do_not_fit_are_refused():
    for name in ("under", "lognormal_sigma"):
        with pytest.raises(ValueError, match=f"density of times {name} is defined for processes"):
            TIMES[name](CLD())
    with pytest.raises(ValueError, match="std 0 is not valid; it should be a number above 0"):
        TIMES["logit_normal"](VP(), std=0.0)
