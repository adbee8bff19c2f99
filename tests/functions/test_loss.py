import math

import pytest
import torch
from torch import nn

from functions import loss as losses
from functions.denoiser import Denoiser
from functions.loss import LOSSES, skip, skip_coefficient, skip_scale
from functions.loss.base import squared_error
from functions.process import CLD, VP, VPSDE, Blur
from tests.analytic import MODELS, ExactNet, golden

SKIPS, NOISES = [1, 9, 49], ["fresh", "shared", "closed_form"]


class Toy(nn.Module):
    """The stored cases' model: a x + b tanh x + c t/1000."""

    def __init__(self):
        super().__init__()
        self.abc = nn.Parameter(golden("lskip")["model_abc"].clone())

    def forward(self, x, t, label=None):
        a, b, c = self.abc
        return a * x + b * torch.tanh(x) + c * t.to(x).view(-1, 1, 1, 1) / 1000


class Scaled(nn.Module):
    """Answers w times a fixed noise: the scalar problem whose minimiser is known."""

    def __init__(self, noise, w):
        super().__init__()
        self.noise, self.w = noise, w

    def forward(self, x, t, label=None):
        return self.w * self.noise


@pytest.fixture
def case():
    z = golden("lskip")
    return Denoiser(Toy(), VP()), (z["x0"], z["t"], z["e1"]), z


def gradient(denoiser, per_sample):
    (got,) = torch.autograd.grad(per_sample.mean(), denoiser.network.abc)
    return got


def hand_out(monkeypatch, noise):
    monkeypatch.setattr(torch, "randn_like", lambda x: noise)


def close(got, want, atol=1e-12):
    torch.testing.assert_close(got, want, rtol=0, atol=atol)


def test_simple_equals_the_reference_up_to_its_sum_over_pixels(case):
    denoiser, batch, z = case
    pixels = z["x0"][0].numel()
    per_sample = LOSSES["simple"](denoiser, *batch)
    close(per_sample * pixels, z["simple__per_sample"], 1e-11)
    close(gradient(denoiser, per_sample) * pixels, z["simple__grad_abc"], 1e-10)


@pytest.mark.parametrize("noise", ["fresh", "shared"])
@pytest.mark.parametrize("k", SKIPS)
def test_skip_equals_the_reference(case, monkeypatch, k, noise):
    denoiser, batch, z = case
    hand_out(monkeypatch, z["e2"])
    per_sample = LOSSES["skip"](denoiser, *batch, skip=k, skip_noise=noise)
    close(per_sample.detach(), z[f"skip{k}__{noise}__per_sample"])
    close(gradient(denoiser, per_sample), z[f"skip{k}__{noise}__grad_abc"])


@pytest.mark.parametrize("k", SKIPS)
def test_the_coefficient_equals_the_reference(k):
    z = golden("lskip")
    close(skip_coefficient(VP(), z["t"], k), z[f"skip{k}__coef"])


@pytest.mark.parametrize("tau", [0.99, 0.4])
@pytest.mark.parametrize("k", SKIPS)
def test_closed_form_is_the_exact_mean_of_fresh_and_of_its_gradient(case, monkeypatch, k, tau):
    """e2 = +-r with |r| = 1 everywhere has the first two moments of a standard normal, which are
    all that the expectation of a quadratic knows; so two evaluations give it exactly.
    """
    denoiser, batch, z = case
    signs = torch.where(z["e2"] > 0, 1.0, -1.0).double()
    closed = skip(denoiser, *batch, skip=k, tau=tau, skip_noise="closed_form")
    values, gradients = [], []
    for e2 in (signs, -signs):
        hand_out(monkeypatch, e2)
        fresh = skip(denoiser, *batch, skip=k, tau=tau)
        values.append(fresh.detach())
        gradients.append(gradient(denoiser, fresh))
    close(closed.detach(), sum(values) / 2, 1e-13)
    close(gradient(denoiser, closed), sum(gradients) / 2, 1e-13)


@pytest.mark.slow
def test_closed_form_is_the_mean_over_many_draws(case):
    denoiser, batch, _ = case
    torch.manual_seed(0)
    draws, gradients = [], []
    for _ in range(1500):
        fresh = skip(denoiser, *batch, skip=49, tau=0.4)
        draws.append(fresh.detach())
        gradients.append(gradient(denoiser, fresh))
    closed = skip(denoiser, *batch, skip=49, tau=0.4, skip_noise="closed_form")
    for draw, want in ((draws, closed.detach()), (gradients, gradient(denoiser, closed))):
        stack = torch.stack(draw)
        error = stack.std(0) / math.sqrt(len(stack))
        assert ((stack.mean(0) - want).abs() <= 4.5 * error + 1e-12).all()
    reached = batch[1] >= 49
    spread = torch.stack(draws).std(0)
    assert (spread[reached] > 1e-3).all()  # so the noise was drawn anew, and
    assert (spread[~reached] < 1e-12).all()  # plays no part below the skip distance


def test_fresh_noise_is_drawn_anew_and_shared_is_not():
    x0, t = torch.zeros(2, 1, 2, 2).double(), torch.tensor([500, 900])
    denoiser = Denoiser(Scaled(torch.ones_like(x0), 1.0), VP())
    for noise, differs in (("fresh", True), ("shared", False), ("closed_form", False)):
        one, two = (skip(denoiser, x0, t, x0 + 1, tau=0.5, skip_noise=noise) for _ in range(2))
        assert torch.equal(one, two) is not differs


@pytest.mark.parametrize("noise", NOISES)
def test_below_the_skip_distance_it_is_the_plain_loss(case, noise):
    denoiser, (x0, _, e1), _ = case
    plain = losses.simple(denoiser, x0, torch.full((8,), 8), e1)
    close(skip(denoiser, x0, torch.full((8,), 8), e1, skip=9, skip_noise=noise), plain, 1e-15)
    at = torch.full((8,), 9)  # t == skip: the second term is there, measured from abar[0]
    c = skip_coefficient(VP(), at, 9)
    abar = golden("common")["abar"]
    close(c, torch.sqrt(abar[0] / abar[9] - 1).expand(8))
    assert (skip(denoiser, x0, at, e1, skip=9, tau=0.5) - losses.simple(denoiser, x0, at, e1)).all()


@pytest.mark.parametrize("noise", NOISES)
def test_a_skip_beyond_the_whole_schedule_is_the_plain_loss(case, noise):
    denoiser, batch, _ = case
    for far in (1000, 5000):
        close(
            skip(denoiser, *batch, skip=far, skip_noise=noise),
            losses.simple(denoiser, *batch),
            1e-15,
        )
        assert (skip_scale(VP(), batch[1], far, skip_noise=noise) == 1).all()


@pytest.mark.parametrize("noise", NOISES)
def test_tau_one_is_the_plain_loss(case, noise):
    denoiser, batch, _ = case
    got = skip(denoiser, *batch, tau=1.0, skip_noise=noise)
    close(got, losses.simple(denoiser, *batch), 1e-15)
    close(skip_scale(VP(), batch[1], 9, 1.0, noise), torch.ones(8).double(), 1e-15)


@pytest.mark.parametrize("process", [VP(), VP("cosine"), VPSDE()], ids=["vp", "cosine", "vpsde"])
@pytest.mark.parametrize("noise", ["closed_form", "shared"])
def test_skip_scale_is_the_minimiser(process, noise):
    """For a network that answers w eps the loss is a parabola in w: three values find its foot."""
    t = torch.tensor([5, 9, 60, 500, 990]) * (1 if process.steps else 1e-3)
    eps = torch.randn(5, 1, 4, 4, generator=torch.Generator().manual_seed(0)).double()

    def at(w):
        denoiser = Denoiser(Scaled(eps, w), process)
        return skip(denoiser, torch.zeros_like(eps), t, eps, skip=9, tau=0.7, skip_noise=noise)

    low, mid, high = at(0.0), at(1.0), at(2.0)
    foot = 1 - (high - low) / 2 / (high - 2 * mid + low)
    scale = skip_scale(process, t, skip=9, tau=0.7, skip_noise=noise)
    torch.testing.assert_close(scale, foot, rtol=1e-9, atol=0)
    assert scale[0] == 1 and (scale[1:] != 1).all()


def test_fresh_and_closed_form_have_the_same_minimiser():
    t = torch.arange(1000)
    fresh, closed = (skip_scale(VP(), t, skip_noise=n) for n in ("fresh", "closed_form"))
    assert torch.equal(fresh, closed) and (fresh[9:] < 1).all()
    assert (skip_scale(VP(), t, skip_noise="shared")[9:] > 1).all()  # c_t < 1: it enlarges


@pytest.mark.parametrize(
    ("k", "factors", "mean", "largest"),
    [
        (1, [0.99998, 0.99994, 0.99990, 0.99986, 0.99979], 1.0001, 1.0002),
        (9, [0.99982, 0.99944, 0.99905, 0.99864, 0.99800], 1.0010, 1.0020),
        (49, [0.99917, 0.99681, 0.99395, 0.99047, 0.98383], 1.0068, 1.0164),
    ],
)
def test_skip_scale_equals_the_published_table(k, factors, mean, largest):
    got = skip_scale(VP(), torch.tensor([100, 300, 500, 700, 999]), k)
    close(got, torch.tensor(factors).double(), 6e-6)
    inverse = 1 / skip_scale(VP(), torch.arange(1000), k)
    assert abs(inverse.mean() - mean) < 6e-5 and abs(inverse.max() - largest) < 6e-5


@pytest.mark.parametrize(("k", "first"), [(9, 978), (49, 883)])
def test_on_a_cosine_schedule_c_passes_one_and_is_clamped(k, first):
    vp, t = VP("cosine"), torch.arange(1000)
    c = skip_coefficient(vp, t, k, math.inf)
    assert int((c > 1).nonzero()[0]) == first and c.max() ** 2 > 5e4
    assert losses.clamped_from(vp, k, 1.0) == first
    bounded = skip_coefficient(vp, t, k)
    assert bounded.max() == 10
    assert torch.equal(bounded[c <= 10], c[c <= 10])
    assert losses.clamped_from(vp, k) == int((c > 10).nonzero()[0])


@pytest.mark.parametrize("k", SKIPS)
def test_the_linear_schedule_is_never_clamped(k):
    assert losses.clamped_from(VP(), k) is None


@pytest.mark.parametrize("schedule", ["cosine", "jsd"])
@pytest.mark.parametrize("noise", NOISES)
def test_steep_schedules_give_finite_losses_and_gradients(noise, schedule):
    denoiser, t = Denoiser(Toy(), VP(schedule)), torch.tensor([990, 997, 998, 999])
    x0, e1 = (golden("lskip")[k][:4] for k in ("x0", "e1"))
    per_sample = skip(denoiser, x0, t, e1, skip=49, skip_noise=noise)
    assert (per_sample < 5).all()
    assert gradient(denoiser, per_sample).isfinite().all()
    assert skip_scale(VP(schedule), t, 49, skip_noise=noise).isfinite().all()


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("predicts", ["eps", "x0", "v"])
def test_clipping_is_for_sampling_and_leaves_training_alone(name, predicts):
    """One denoiser may serve both: a bound on x0 would stop gradients where it acts."""
    x0, t = golden("lskip")["x0"], golden("lskip")["t"] // 2
    e1 = golden("lskip")["e1"]
    net = ExactNet(MODELS["mixture"], VP(), predicts)
    options = {"skip_noise": "shared"} if name == "skip" else {}
    free, clipped = (
        LOSSES[name](Denoiser(net, VP(), predicts, clip=clip), x0, t, e1, **options)
        for clip in (None, 0.05)
    )
    close(clipped, free, 0)


@pytest.mark.parametrize("predicts", ["x0", "v"])
def test_skip_asks_any_parametrisation_for_its_noise(predicts):
    x0, t, e1 = (golden("lskip")[k] for k in ("x0", "t", "e1"))
    want, got = (
        skip(
            Denoiser(ExactNet(MODELS["mixture"], VP(), p), VP(), p), x0, t, e1, skip_noise="shared"
        )
        for p in ("eps", predicts)
    )
    close(got, want, 1e-10)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", LOSSES)
def test_losses_are_one_number_per_sample_in_the_dtype_of_the_data(name, dtype):
    z = golden("lskip")
    x0, e1 = z["x0"].to(dtype), z["e1"].to(dtype)
    got = LOSSES[name](Denoiser(Toy().to(dtype), VP()), x0, z["t"], e1)
    assert got.shape == (8,) and got.dtype == dtype


def test_bad_options_are_refused(case):
    denoiser, batch, _ = case
    for options, word in (
        ({"skip": 0}, "skip 0 is not valid; it should be a whole number, at least 1"),
        ({"tau": 1.5}, "tau 1.5 is not valid; it should be a number from 0 to 1"),
        ({"tau": -0.1}, "tau -0.1 is not valid"),
        ({"skip_noise": "new"}, "it should be fresh, shared or closed_form"),
        ({"c_max": 0.0}, "c_max 0 is not valid"),
    ):
        with pytest.raises(ValueError, match=word):
            skip(denoiser, *batch, **options)
        with pytest.raises(ValueError, match=word):
            skip_scale(VP(), batch[1], **options)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("predicts", ["eps", "x0", "v"])
def test_an_answer_of_another_shape_is_refused_and_never_broadcast(name, predicts):
    """One channel to three, or one image to eight, would give a number without a complaint."""
    z = golden("lskip")
    x0, noise = (z[key].expand(8, 3, -1, -1)[:, :3] for key in ("x0", "e1"))
    for wrong in (noise[:, :1], noise[:1]):
        denoiser = Denoiser(Scaled(wrong, 1.0), VP(), predicts)
        with pytest.raises(ValueError, match="to a state .*the two should have one shape"):
            LOSSES[name](denoiser, x0, z["t"], noise)


def test_noise_of_another_shape_than_the_answer_is_refused():
    with pytest.raises(ValueError, match="one shape, not .8, 3, 4, 4. with .8, 1, 4, 4."):
        squared_error(torch.zeros(8, 3, 4, 4), torch.zeros(8, 1, 4, 4))


def test_the_checks_of_a_loss_before_training():
    """What a config asks its loss: is it defined here, and is there something to know."""
    facts = LOSSES.parts["skip"].facts
    options = LOSSES.parts["skip"].defaults
    for process in (VP(), VPSDE()):
        facts.check(process, **options)
        facts.check(process, **{**options, "skip": 999})
        with pytest.raises(ValueError, match="skip 1000 is not valid; .*at least 1 and below 1000"):
            facts.check(process, **{**options, "skip": 1000})
    with pytest.raises(ValueError, match="skip 20 is not valid; .*below 20"):
        facts.check(VP(steps=20), **{**options, "skip": 20})
    for process in (CLD(), Blur(4)):
        with pytest.raises(ValueError, match="L_skip is defined for the variance-preserving"):
            facts.check(process, **options)
    assert facts.warn(VP(), **options) == ""
    first = losses.clamped_from(VP("cosine"), 9)
    said = facts.warn(VP("cosine"), **options)
    assert said.startswith(f"L_skip: c_t is clamped to 10 for t >= {first:g}:")
    assert LOSSES.parts["simple"].facts.check is None


def test_losses_can_be_compiled_whole():
    """Ranges are checked outside a traced graph, so that no part of it falls back to Python."""
    denoiser, z = Denoiser(Toy(), VPSDE()), golden("lskip")
    batch = z["x0"], z["t"] / 1000, z["e1"]
    for name, options in (("simple", {}), ("skip", {"skip_noise": "closed_form"})):
        traced = torch.compile(LOSSES[name], backend="eager", fullgraph=True)
        torch.testing.assert_close(
            traced(denoiser, *batch, **options), LOSSES[name](denoiser, *batch, **options)
        )
