import pytest
import torch

from functions import adaptive
from functions.denoiser import Denoiser
from functions.process import VP, VPSDE, Flow
from functions.samplers import rk45
from tests.analytic import ExactNet, Gauss, Mixture

ENDS = {"vp": (VP(), (999.0, 10.0)), "vpsde": (VPSDE(), (1.0, 0.01))}


def asking(process, model, calls=None):
    def predict(x, t):
        if calls is not None:
            calls.append((len(x), t))
        return model.eps(x, (process.alpha(t) ** 2).view(-1, 1, 1, 1))

    return predict


def start(n=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, 1, 4, 4, generator=generator, dtype=torch.float64)


def sample(process, ends, predict, x, **tolerances):
    flow = rk45(process, torch.tensor(ends), **tolerances)
    *_, last = adaptive.solve(flow, predict, x)
    return last


@pytest.mark.parametrize(("process", "ends"), ENDS.values(), ids=ENDS)
def test_it_follows_the_exact_flow_to_its_tolerance(process, ends):
    exact = Gauss().flow(process, start(), *ends)
    spent, errors = [], []
    for tolerance in (1e-3, 1e-5, 1e-7):
        calls = []
        predict = asking(process, Gauss(), calls)
        got = sample(process, ends, predict, start(), rtol=tolerance, atol=tolerance)
        errors.append((got - exact).abs().max().item())
        spent.append(sum(n for n, _ in calls) / 3)
    assert errors[2] < 0.1 * errors[1] < 0.01 * errors[0] and errors[2] < 1e-5, errors
    assert 30 < spent[0] < spent[1] < spent[2] < 400, spent


@pytest.mark.slow
def test_an_image_does_not_depend_on_its_neighbours():
    """Every image has its own steps: alone or in company it is the same."""
    predict, ends = asking(VP(), Mixture()), (999.0, -1.0)
    together = sample(VP(), ends, predict, start(4))
    for i in range(4):
        alone = sample(VP(), ends, predict, start(4)[i : i + 1])
        torch.testing.assert_close(together[i : i + 1], alone, rtol=0, atol=1e-9)


def test_the_last_step_to_clean_data_is_the_predicted_data():
    calls = []
    predict = asking(VP(), Mixture(), calls)
    before = sample(VP(), (999.0, 0.0), predict, start())
    got = sample(VP(), (999.0, -1.0), predict, start())
    sigma, alpha = VP().sigma(torch.zeros(())), VP().alpha(torch.zeros(()))
    eps = predict(before, torch.zeros(3, dtype=torch.float64))
    torch.testing.assert_close(got, (before - sigma * eps) / alpha, rtol=0, atol=1e-12)
    assert all(t.min() >= 0 and t.max() <= 999 for _, t in calls)


def test_single_precision_stays_single():
    predict = asking(VP(), Gauss())
    got = sample(VP(), (999.0, -1.0), lambda x, t: predict(x, t).float(), start().float())
    want = sample(VP(), (999.0, -1.0), predict, start())
    assert got.dtype == torch.float32
    torch.testing.assert_close(got.double(), want, rtol=0, atol=1e-3)


def test_what_cannot_be_solved_is_refused():
    with pytest.raises(ValueError, match="rtol 0 is not valid; it should be a number above 0"):
        rk45(VP(), torch.tensor([999.0, -1.0]), rtol=0.0)
    with pytest.raises(ValueError, match="strictly decreasing"):
        rk45(VP(), torch.tensor([10.0, 20.0]))
    with pytest.raises(RuntimeError, match="not finite"):
        sample(VP(), (999.0, -1.0), lambda x, t: x * float("nan"), start())
    with pytest.raises(ValueError, match="the network answers .* to a state"):
        sample(VP(), (999.0, -1.0), lambda x, t: x[:, :, :1], start())


def test_a_walk_from_a_time_without_signal_keeps_the_quantiles():
    flow, gauss = Flow(), Gauss()
    walk = rk45(flow, torch.tensor([1.0, 0.02]), 1e-9, 1e-9)
    assert walk.basis == "velocity"
    denoiser = Denoiser(ExactNet(gauss, flow, "velocity"), flow, "velocity")
    *_, got = adaptive.solve(walk, denoiser.velocity, start())
    torch.testing.assert_close(got, gauss.flow(flow, start(), 1.0, 0.02), rtol=0, atol=1e-6)


def test_a_table_without_signal_at_its_end_is_refused():
    with pytest.raises(ValueError, match="rk45 cannot begin at t = 999, where this noise schedule"):
        rk45(VP("cosine", rescale_zero_snr=True), torch.tensor([999.0, -1.0]))
