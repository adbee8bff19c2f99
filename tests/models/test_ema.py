"""Averages of weights, against the DDIM repo's and by their own laws."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from models.ema import EMA

TOY = np.load(Path(__file__).parents[1] / "golden" / "models" / "ema_toy.npz")


class Toy(nn.Module):
    def __init__(self):
        super().__init__()
        for name in "wbs":
            setattr(self, name, nn.Parameter(torch.tensor(TOY[f"param/0/{name}"])))
        self.frozen = nn.Parameter(torch.tensor(TOY["param/0/frozen"]), requires_grad=False)
        self.register_buffer("buf", torch.tensor(TOY["param/0/buf"]))

    @torch.no_grad()
    def at(self, i):
        for name, tensor in self.state_dict().items():
            tensor.copy_(torch.tensor(TOY[f"param/{i}/{name}"]))
        return self


def random_net(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))


def shake(network):
    with torch.no_grad():
        for p in network.parameters():
            p.add_(torch.randn_like(p))


def test_averages_of_the_ddim_repo():
    network = Toy()
    ema = EMA(network, 0.9)
    for i in range(1, 6):
        ema.update(network.at(i))
        weights = ema.weights()
        assert set(weights) == {"w", "b", "s"}
        for name, tensor in weights.items():
            assert np.allclose(tensor.numpy(), TOY[f"shadow/{i}/{name}"], rtol=0, atol=1e-6)
    with ema.applied(network):
        for name, tensor in network.state_dict().items():
            want = TOY[f"after_ema_apply/{name}"]
            assert np.allclose(tensor.numpy(), want, rtol=0, atol=1e-6)


def test_several_rates_are_several_averages():
    network = random_net()
    both, slow, fast = EMA(network, [0.99, 0.5]), EMA(network, 0.99), EMA(network, 0.5)
    for _ in range(4):
        shake(network)
        for ema in (both, slow, fast):
            ema.update(network)
    for name in slow.weights():
        assert torch.equal(both.weights()[name], slow.weights()[name])
        assert torch.equal(both.weights(0.99)[name], slow.weights()[name])
        assert torch.equal(both.weights(0.5)[name], fast.weights()[name])
    with pytest.raises(ValueError, match="0.7"):
        both.weights(0.7)


def test_warm_up_follows_its_formula():
    p = nn.ParameterList([nn.Parameter(torch.zeros((), dtype=torch.float64))])
    ema, want = EMA(p, 0.5, warmup=True), 0.0
    for t in range(1, 15):
        with torch.no_grad():
            p[0].fill_(float(t * t))
        ema.update(p)
        rate = min(0.5, (1 + t) / (10 + t))
        want = rate * want + (1 - rate) * t * t
        assert abs(ema.weights()["0"].item() - want) < 1e-12


def test_applied_restores_exactly_even_after_an_error():
    network = random_net()
    ema = EMA(network, 0.9)
    shake(network)
    ema.update(network)
    own = {k: v.clone() for k, v in network.state_dict().items()}
    average = {k: v.clone() for k, v in ema.weights().items()}
    with pytest.raises(KeyError), ema.applied(network) as inside:
        assert all(torch.equal(p, average[k]) for k, p in inside.named_parameters())
        raise KeyError("in the middle")
    assert all(torch.equal(v, own[k]) for k, v in network.state_dict().items())
    assert all(torch.equal(v, average[k]) for k, v in ema.weights().items())


@pytest.mark.parametrize("warmup", [False, True])
def test_going_on_from_a_stored_state_is_exact(warmup):
    network = random_net()
    straight = EMA(network, [0.9, 0.99], warmup)
    shake(network)
    straight.update(network)
    stored = straight.state_dict()
    resumed = EMA(random_net(1), [0.9, 0.99], warmup)
    resumed.load_state_dict(stored)
    assert resumed.updates == 1
    shake(network)
    straight.update(network)
    resumed.update(network)
    for rate in (0.9, 0.99):
        for name, tensor in straight.weights(rate).items():
            assert torch.equal(tensor, resumed.weights(rate)[name])


def test_what_does_not_belong_together_is_refused():
    ema = EMA(random_net(), 0.9)
    with pytest.raises(ValueError, match="rates"):
        EMA(random_net(), 0.99).load_state_dict(ema.state_dict())
    with pytest.raises(ValueError, match="parameters, such as"):
        ema.update(nn.Linear(3, 4))
    with pytest.raises(ValueError, match="differ"):
        EMA(nn.Linear(3, 4), 0.9).load_state_dict(ema.state_dict())


@pytest.mark.parametrize("rates", [[], 1.0, -0.1, [0.9, 0.9], float("nan")])
def test_bad_rates(rates):
    with pytest.raises(ValueError, match="ema_rate"):
        EMA(random_net(), rates)


def test_ramp_up_bounds_the_half_life_by_the_images_seen():
    """EDM's formula, in images: half-life min(H, ratio * seen), seen before the update."""
    p = nn.ParameterList([nn.Parameter(torch.zeros((), dtype=torch.float64))])
    p[0].data.fill_(7.0)
    batch, half_life, ratio = 512, 50_000, 0.05
    ema, want = EMA(p, 0.5 ** (batch / half_life), rampup=ratio), 7.0
    for t in range(3000):
        with torch.no_grad():
            p[0].fill_(math.sin(t))
        ema.update(p)
        beta = 0.5 ** (batch / max(min(half_life, ratio * t * batch), 1e-8))
        want = beta * want + (1 - beta) * math.sin(t)
        assert abs(ema.weights()["0"].item() - want) < 1e-12
    with pytest.raises(ValueError, match="rampup 0 is not valid; it should be a number above 0"):
        EMA(p, 0.9, rampup=0)
    with pytest.raises(ValueError, match="'rampup': 0.05"):
        EMA(p, ema.names, rampup=None).load_state_dict(ema.state_dict())
