"""From data to the state that samples lead back from, and between such states."""

from __future__ import annotations

import math

import pytest
import torch

from functions.editing.interpolation import Between, between, places, slerp
from functions.editing.inversion import inversion
from functions.grids import uniform
from functions.plan import apply, solve
from functions.process import CLD, VP, VPSDE, Blur
from functions.samplers import gddim, heun
from runners.sampling.noise import Noise
from tests.analytic import Gauss, Mixture

PROCESSES = {"vp": VP(), "vpsde": VPSDE(), "cld": CLD(), "blur": Blur(4)}
MEAN, STD = 0.2, 0.5


def gaussian(process):
    """The exact noise estimate for data whose pixels are N(MEAN, STD^2)."""

    def predict(x, t):
        time = torch.tensor(t, dtype=torch.float64)
        mean, factor = process.mean(time), process.factor(time)
        data = mean[..., :1]
        spread = STD**2 * data @ data.mT + factor @ factor.mT
        center = process.lift(torch.full_like(process.drop(x), MEAN))
        return apply(factor.mT @ torch.linalg.inv(spread), x - apply(mean, center))

    return predict


def mixture(process):
    def predict(x, t):
        abar = process.alpha(torch.tensor(t, dtype=torch.float64)) ** 2
        return Mixture().eps(x, abar)

    return predict


def there_and_back(process, predict, steps: int, back) -> tuple[float, torch.Tensor]:
    """The largest error of the round trip, and the states at the other end."""
    generator = torch.Generator().manual_seed(0)
    images = MEAN + STD * torch.randn(50, 1, 4, 4, generator=generator, dtype=torch.float64)
    grid = uniform(process, steps)
    *_, ends = solve(inversion(process, grid), predict, process.lift(images))
    *_, x = solve(back(process, grid), predict, ends)
    return float((process.drop(x) - images).abs().max()), ends


@pytest.mark.slow
@pytest.mark.parametrize("name", PROCESSES)
def test_the_round_trip_falls_with_the_square_of_the_steps(name) -> None:
    process = PROCESSES[name]
    few, many = 40, 160
    error = [there_and_back(process, gaussian(process), n, heun)[0] for n in (few, many)]
    slope = math.log(error[0] / error[1]) / math.log(many / few)
    assert slope > 1.75 and error[1] < 0.01, (error, slope)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["vp", "vpsde"])
def test_two_modes_come_back_too(name) -> None:
    process = PROCESSES[name]
    errors = [there_and_back(process, mixture(process), n, heun)[0] for n in (50, 200)]
    assert errors[1] < errors[0] / 4 and errors[1] < 0.02, errors


def test_encoded_data_lie_where_the_flow_leads() -> None:
    process, gauss = VP(), Gauss()
    x = torch.linspace(-1, 1.5, 16, dtype=torch.float64).view(1, 1, 4, 4)
    *_, end = solve(inversion(process, uniform(process, 500)), _told(process, gauss), x)
    exact = gauss.flow(process, x, -1.0, float(uniform(process, 500)[0]))
    assert torch.allclose(end, exact, atol=2e-3)


def _told(process, model):
    return lambda x, t: model.eps(x, process.alpha(torch.tensor(t, dtype=torch.float64)) ** 2)


@pytest.mark.slow
@pytest.mark.parametrize("name", PROCESSES)
def test_encoded_data_are_as_large_as_the_prior(name) -> None:
    process = PROCESSES[name]
    _, ends = there_and_back(process, gaussian(process), 100, gddim)
    prior = process.prior((2000, 1, 4, 4), lambda x: torch.randn(x.shape).double())
    size = (ends.std() / prior.std()).item()
    # CLD data are lifted with velocity 0, not drawn, so that some of the noise is missing there
    assert size == pytest.approx(1, abs=0.1 if name != "cld" else 0.4)


def test_a_process_without_the_row_is_refused() -> None:
    process = CLD(parametrisation="L")
    with pytest.raises(ValueError, match="L parametrisation"):
        inversion(process, uniform(process, 5))


def test_the_arc_keeps_ends_exactly_and_the_norm() -> None:
    a, b = torch.randn(2, 3, 8, 8)
    assert torch.equal(slerp(a, b, 0.0), a) and torch.equal(slerp(a, b, 1.0), b)
    b = b / b.norm() * a.norm()
    for u in (0.1, 0.5, 0.77):
        assert float(slerp(a, b, u).norm()) == pytest.approx(float(a.norm()), rel=1e-5)
    assert torch.allclose(slerp(a, 2 * a, 0.5), 1.5 * a, atol=1e-5)
    assert torch.equal(slerp(torch.zeros(3), torch.zeros(3), 0.3), torch.zeros(3))


def test_noise_between_seeds_is_theirs_at_the_corners_and_standard_normal_inside() -> None:
    seeds, at = (3, 4, 5, 6), places(4, 5)
    source = Between([Noise(seed, [0]) for seed in seeds], at)
    plain = [Noise(seed, [0]) for seed in seeds]
    for _ in range(3):  # every draw, not only the first
        drawn = source(torch.empty(25, 1, 64, 64))
        own = [noise(torch.empty(1, 1, 64, 64))[0] for noise in plain]
        for corner, noise in zip((0, 4, 20, 24), own, strict=True):
            assert torch.equal(drawn[corner], noise)
        assert float(drawn.std()) == pytest.approx(1, abs=0.05)
        assert torch.equal(drawn[2], between([n[None] for n in own], (0.5, 0.0))[0])
        assert len(torch.unique(drawn.flatten(1), dim=0)) == 25
