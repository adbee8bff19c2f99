"""Averages by power functions: their profiles in closed form, and others made from stored ones."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from models import checkpoint, snapshots
from models.power_ema import PowerEMA, exponent, fit, reach


class Walker(nn.Module):
    """A few weights on a random walk that calms down, a frozen one, and a buffer."""

    def __init__(self, dtype=torch.float64):
        super().__init__()
        self.walk = nn.Parameter(torch.zeros(50, dtype=dtype))
        self.frozen = nn.Parameter(torch.ones(2, dtype=dtype), requires_grad=False)
        self.register_buffer("buffer", torch.arange(3))
        self.generator = torch.Generator().manual_seed(0)

    @torch.no_grad()
    def go(self, t):
        step = torch.randn(50, generator=self.generator, dtype=torch.float64)
        self.walk += (step * (1 + 20 / t) + 0.05).to(self.walk.dtype)
        return self


@pytest.mark.parametrize(("length", "gamma"), [(0.05, 16.97), (0.10, 6.94)])
def test_exponents_of_the_paper(length, gamma):
    """2312.02696, section 3.1: sigma_rel 0.05 and 0.10 are gamma 16.97 and 6.94."""
    assert exponent(length) == pytest.approx(gamma, abs=0.005)


@pytest.mark.parametrize("length", [0.005, 0.05, 0.13, 0.25])
def test_the_length_is_the_standard_deviation_of_the_profile(length):
    gamma = exponent(length)
    s = (np.arange(200_000) + 0.5) / 200_000
    weight = s**gamma / (s**gamma).sum()
    mean = (weight * s).sum()
    assert math.sqrt((weight * (s - mean) ** 2).sum()) == pytest.approx(length, rel=1e-4)


def test_what_is_averaged_is_the_profile_in_closed_form():
    """With g = gamma + 1, update k of t has the weight (k^g - (k - 1)^g) / t^g,
    the integral of the profile over it; what the network began with has none.
    """
    network, seen = Walker(), []
    network.walk.data.fill_(1e6)
    averages = PowerEMA(network, [0.05, 0.2])
    network.walk.data.zero_()
    for t in range(1, 41):
        averages.update(network.go(t))
        seen.append(network.walk.detach().clone())
    for length in (0.05, 0.2):
        ends = (torch.arange(41, dtype=torch.float64) / 40) ** (exponent(length) + 1)
        want = (ends.diff()[:, None] * torch.stack(seen)).sum(0)
        assert torch.allclose(averages.weights(length)["walk"], want, rtol=1e-10, atol=1e-10)


def train(folder, updates, every, lengths=(0.05, 0.1), dtype=torch.float64, also=()):
    """Walk, store a snapshot now and then, and return averages of other lengths at every step."""
    network = Walker(dtype)
    kept, tracked = PowerEMA(network, lengths), PowerEMA(network, also or lengths)
    found = {}
    for t in range(1, updates + 1):
        network.go(t)
        kept.update(network)
        tracked.update(network)
        if t % every == 0:
            snapshots.save(folder, kept, network, {"config": {"a": 1}})
            found[t] = {one: tracked.weights(one)["walk"].clone() for one in tracked.names}
    return found


def test_another_length_is_made_of_two_stored_ones(tmp_path):
    lengths = [0.025, 0.03, 0.04, 0.07, 0.12, 0.2]
    tracked = train(tmp_path, 1600, 50, also=lengths)
    for step in (1600, 800):
        for length in lengths if step == 1600 else lengths[2:5]:
            made, last = snapshots.reconstruct(tmp_path, step, length, lambda text: None)
            want = tracked[step][length]
            assert (made["walk"] - want).norm() < 1e-2 * want.norm()
            assert set(made) == {"walk", "frozen", "buffer"} and last["config"] == {"a": 1}
            assert torch.equal(made["buffer"], torch.arange(3)) and last["updates"] == step


def test_a_stored_length_at_a_stored_step_is_what_was_stored(tmp_path):
    stored = train(tmp_path, 320, 10, dtype=torch.float32)
    for step, found in stored.items():
        for length, want in found.items():
            made, _ = snapshots.reconstruct(tmp_path, step, length, lambda text: None)
            assert made["walk"].dtype == torch.float32
            assert torch.allclose(made["walk"], want, rtol=1e-6, atol=1e-6), (step, length)


def test_what_is_out_of_reach_is_told_with_what_is_not(tmp_path):
    train(tmp_path, 80, 10)
    said = []
    snapshots.reconstruct(tmp_path, 80, 0.04, said.append)
    assert said == ["ema length 0.04: made of 8 snapshots, its profile off by 3.1%"]
    with pytest.raises(ValueError, match=r"0.01 is out of reach: .* make lengths from 0.03\d* to"):
        snapshots.reconstruct(tmp_path, 80, 0.01, said.append)
    low, high = reach([(at, one) for at in (10, 20, 40, 80) for one in (0.05, 0.1)], 80)
    assert low < 0.05 and high > 0.1
    assert reach([(80, 0.02)], 80)[0] <= 0.02 <= reach([(80, 0.02)], 80)[1]


def test_the_error_is_that_of_the_profile_on_a_fine_grid():
    stored = [(t, one) for t in (250, 500, 750, 1000) for one in (0.05, 0.1)]
    s = (np.arange(400_000) + 0.5) / 400

    def profile(t, length):
        gamma = exponent(length)
        return np.where(s <= t, (gamma + 1) * (s / t) ** gamma / t, 0)

    factors, errors = fit(stored, 1000, [0.08])
    assert factors.sum() == pytest.approx(1, abs=1e-12)
    made = sum(f * profile(*one) for f, one in zip(factors[:, 0], stored, strict=True))
    want = profile(1000, 0.08)
    error = np.linalg.norm(made - want) / np.linalg.norm(want)
    assert error == pytest.approx(errors[0], rel=1e-3) and error < 0.04


def test_a_damaged_snapshot_is_named(tmp_path):
    train(tmp_path, 30, 10)
    path = snapshots.path_of(tmp_path, 20)
    raw = bytearray(path.read_bytes())
    value = torch.load(path, weights_only=True)["averages"][0]["walk"][:1].numpy().tobytes()
    raw[raw.index(value)] ^= 1
    path.write_bytes(raw)
    with pytest.raises(checkpoint.CheckpointError, match="ema_20.pth: damaged"):
        snapshots.reconstruct(tmp_path, 30, 0.06, lambda text: None)


def test_going_on_from_a_stored_state_is_exact():
    network = Walker(torch.float32)
    straight = PowerEMA(network, [0.05, 0.1])
    for t in range(1, 4):
        straight.update(network.go(t))
    resumed = PowerEMA(Walker(torch.float32), [0.05, 0.1])
    resumed.load_state_dict(straight.state_dict())
    for averages in (straight, resumed):
        averages.update(network)
    for one in (0.05, 0.1):
        assert torch.equal(straight.weights(one)["walk"], resumed.weights(one)["walk"])
    with pytest.raises(ValueError, match="they should have"):
        PowerEMA(network, [0.05]).load_state_dict(straight.state_dict())


@pytest.mark.parametrize("lengths", [[], [0.1, 0.1], [0.0], [0.3]])
def test_bad_lengths(lengths):
    with pytest.raises(ValueError, match=r"lengths|ema_powers"):
        PowerEMA(Walker(), lengths)
