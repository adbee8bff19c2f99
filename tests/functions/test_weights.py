"""Loss weights: the numbers of P2's code, and one training whatever the network predicts."""

import pytest
import torch
from torch import nn

from configs.schema import load
from functions import weights
from functions.denoiser import Denoiser
from functions.loss import LOSSES
from functions.process import CLD, EDM, VP, VPSDE, Blur, Flow, VariancePreserving
from functions.weights import WEIGHTS
from tests.analytic import golden

PREDICTIONS = ("eps", "x0", "v", "velocity", "edm")
PROCESSES = {"vp": VP(), "cosine": VP("cosine"), "vpsde": VPSDE(), "flow": Flow(), "edm": EDM()}
ENDS = (  # where noise or signal ends
    *((VP("jsd"), [-1.0, 0.0, 999.0]), (VPSDE(), [0.0, 1.0])),
    *((Flow(), [0.0, 1.0]), (EDM(), [0.0, 80.0])),
)


def times(process, n=7):
    low, high = process.t_train
    t = torch.linspace(low, high, n, dtype=torch.float64)
    return t.round().long() if process.steps else t


class Toy(nn.Module):
    """A wrong network that says the same of every x at times t, in the words of a prediction."""

    def __init__(self, process, predicts, t):
        super().__init__()
        self.process, self.predicts, self.t = process, predicts, t
        self.gain = nn.Parameter(torch.tensor(0.7, dtype=torch.float64))

    def forward(self, x, t, label=None):
        t = self.t
        alpha, sigma = (c.view(-1, 1, 1, 1) for c in (self.process.alpha(t), self.process.sigma(t)))
        size = (sigma**2 + (0.5 * alpha) ** 2) ** 0.5
        x = x * size if self.predicts == "edm" else x  # it sees x at unit variance
        eps = self.gain * torch.tanh(x) + 0.1
        x0 = (x - sigma * eps) / alpha
        return {
            "eps": eps,
            "x0": x0,
            "v": alpha * eps - sigma * x0,
            "velocity": eps - x0,
            "edm": (x0 - 0.25 * alpha / size**2 * x) * size / (0.5 * sigma),
        }[self.predicts]


@pytest.mark.parametrize("gamma", ["0", "0.5", "1"])
def test_p2_equals_its_code(gamma):
    want = golden("p2")[f"weight__linear__gamma{gamma}__k1"]
    got = weights.p2(VP(), torch.arange(1000.0), k=1.0, gamma=float(gamma))
    torch.testing.assert_close(got, want, rtol=0, atol=1e-12)
    assert got.dtype == torch.float64


def test_the_weights_are_those_of_the_papers():
    vp, t = VP(), torch.arange(1000)
    snr = golden("p2")["snr__linear"]
    small = snr.clamp(max=5)
    for predicts, of_snr, of_min in (
        ("eps", torch.ones_like(snr), small / snr),
        ("x0", snr, small),
        ("v", snr / (snr + 1), small / (snr + 1)),
    ):
        for got, want in (
            (weights.snr(vp, t, predicts=predicts), of_snr),
            (weights.min_snr(vp, t, predicts=predicts), of_min),
            (weights.p2(vp, t, 2.0, 0.5, predicts), of_snr / (2 + snr) ** 0.5),
        ):
            torch.testing.assert_close(got, want, rtol=1e-11, atol=0)


@pytest.mark.parametrize("loss", ["simple", "skip"])
@pytest.mark.parametrize("process", PROCESSES.values(), ids=PROCESSES)
@pytest.mark.parametrize("name", [name for name in WEIGHTS if name != "none"])
def test_weighted_losses_of_all_predictions_are_one(name, process, loss):
    """Their values and their gradients: one network, whatever words it answers in."""
    torch.manual_seed(0)
    if loss == "skip" and not isinstance(process, VariancePreserving):
        pytest.skip("L_skip is defined where the variance is preserved")
    t = times(process)
    if name == "snr_plus_one" or process.steps is None:
        t = t[1:-1]  # no prediction tells everything at both ends
    x0, noise = torch.randn(2, len(t), 1, 4, 4, dtype=torch.float64)
    part, found = WEIGHTS.parts[name], []
    compares = LOSSES.parts[loss].facts.compares
    options = {"skip_noise": "closed_form"} if loss == "skip" else {}
    for predicts in PREDICTIONS:
        if predicts in ("eps", "edm") and isinstance(process, Flow):
            continue
        network = Toy(process, predicts, t)
        of = predicts if compares == "prediction" else "eps"
        weight = part.make({}, process=process, t=t, predicts=of)
        weighted = weight * LOSSES[loss](
            Denoiser(network, process, predicts), x0, t, noise, **options
        )
        (gradient,) = torch.autograd.grad(weighted.sum(), network.gain)
        found.append(torch.cat([weighted.detach(), gradient[None]]))
    for other in found[1:]:
        torch.testing.assert_close(other, found[0], rtol=1e-8, atol=0)


@pytest.mark.parametrize(("loss", "of"), [("simple", "x0"), ("skip", "eps")])
def test_a_config_weighs_what_its_loss_compares(loss, of):
    keys = [("loss.name", loss), ("diffusion.predicts", "x0"), ("training.weight", "p2:2:0.5")]
    config = load("digits", keys)
    process, t = config.process(), torch.arange(0, 1000, 99)
    got = config.weight(process)(t)
    torch.testing.assert_close(got, weights.p2(process, t, 2.0, 0.5, of), rtol=0, atol=0)


@pytest.mark.parametrize("predicts", PREDICTIONS)
@pytest.mark.parametrize("name", WEIGHTS)
def test_weights_are_finite_where_noise_or_signal_ends(name, predicts):
    part = WEIGHTS.parts[name]
    for process, ends in ENDS:
        t = torch.tensor(ends)
        weight = part.make({}, process=process, t=t, predicts=predicts)
        assert weight.float().isfinite().all() and (weight >= 0).all()
        assert weight.dtype == torch.float64 and weight.shape == t.shape


def test_none_is_one_on_every_process():
    for process in (VP(), VPSDE(), CLD(), Blur(8)):
        assert WEIGHTS["none"](process, times(process)).tolist() == [1.0] * 7


@pytest.mark.parametrize("name", ["snr", "p2", "min_snr", "edm", "snr_plus_one"])
def test_weights_need_numbers_as_coefficients(name):
    with pytest.raises(
        ValueError, match=f"loss weight {name} is defined for processes with numbers"
    ):
        WEIGHTS[name](CLD(), torch.tensor([0.5]))


def test_an_unknown_prediction_is_refused():
    with pytest.raises(
        ValueError, match="predicts score is not valid; it should be eps, x0, v, velocity or edm"
    ):
        weights.p2(VP(), torch.arange(3), predicts="score")
