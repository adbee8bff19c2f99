import pytest
import torch

from functions.denoiser import Denoiser, Scaled
from functions.loss import skip_scale
from functions.plan import solve
from functions.process import CLD, VP, VPSDE
from functions.samplers import ddim
from functions.scales import SCALES
from tests.analytic import ExactNet, Mixture

X = torch.randn(2, 1, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("noise", ["fresh", "shared"])
@pytest.mark.parametrize("k", [1, 9, 49])
def test_skip_scales_by_what_the_loss_would_have_trained_in(k, noise):
    times = torch.tensor([0.0, k - 1.0, k, 500.0, 999.0]).double()
    got = SCALES["skip"](VP(), k, 0.99, noise)(times)
    torch.testing.assert_close(got, skip_scale(VP(), times, k, 0.99, noise), rtol=0, atol=0)
    if noise == "fresh":
        assert (got[2:] < 1).all()
    elif k < 49:  # the last times of long skips have c_t near 1
        assert (got[2:] > 1).all()
    assert (got[:2] == 1).all()


def test_linear_divides_by_a_line_in_the_networks_time():
    t = torch.tensor([0.0, 500.0])
    torch.testing.assert_close(
        SCALES["linear"](VP(), 1e-5, 1.017)(t), 1 / torch.tensor([1.017, 1.022]).double()
    )
    torch.testing.assert_close(
        SCALES["linear"](VPSDE(), 1e-5, 1.0)(torch.tensor(0.5)), 1 / torch.tensor(1.004995).double()
    )


@pytest.mark.parametrize("predicts", ["eps", "x0", "v"])
@pytest.mark.parametrize("clip", [None, 0.4])
def test_noise_and_clean_state_of_a_scaled_denoiser_belong_together(predicts, clip):
    """x = alpha x0 + sigma eps holds for what it answers; unclipped, eps is the scaled one."""
    vp = VP()
    plain = Denoiser(ExactNet(Mixture(), vp, predicts), vp, predicts, clip)
    scaled = Scaled(plain, SCALES["linear"](vp, 0.0, 1.25))
    for t in (30.0, torch.tensor([30.0, 700.0])):
        time = torch.as_tensor(t, dtype=torch.float64).reshape(-1, 1, 1, 1)
        x0, eps = scaled.x0(X, t), scaled.eps(X, t)
        torch.testing.assert_close(vp.alpha(time) * x0 + vp.sigma(time) * eps, X)
        if clip is None:
            torch.testing.assert_close(eps, plain.eps(X, t) / 1.25)
        else:
            assert x0.abs().max() <= clip


def test_a_scale_of_one_changes_nothing_and_a_scale_reaches_the_sample():
    vp = VP()
    plain, plan = Denoiser(ExactNet(Mixture(), vp), vp), ddim(vp, torch.tensor([900.0, 400, -1]))
    *_, want = solve(plan, plain.eps, X)
    *_, same = solve(plan, Scaled(plain, SCALES["linear"](vp)).eps, X)
    *_, other = solve(plan, Scaled(plain, SCALES["skip"](vp, 49)).eps, X)
    torch.testing.assert_close(same, want, rtol=0, atol=1e-12)
    assert 1e-4 < (other - want).abs().max() < 0.5


def test_impossible_scales_are_refused():
    for name, options, message in [
        ("linear", (0.0, 0.0), "should be above 0 at every time, not with k 0 and b 0"),
        ("linear", (-0.01, 1.0), "k -0.01 and b 1"),
        ("skip", (0,), "k 0 is not valid; it should be a whole number, at least 1"),
        ("skip", (1000,), "k 1000 is not valid; it should be from 1 to 999"),
        ("skip", (9, 1.5), "tau 1.5 is not valid"),
        ("skip", (9, 0.99, "other"), "noise other is not valid"),
    ]:
        with pytest.raises(ValueError, match=message):
            SCALES[name](VP(), *options)


def test_scaling_keeps_a_mixed_score():
    """A network that answers nothing: only what it adds to is left, times the scale."""

    class Nothing(torch.nn.Module):
        def forward(self, x, t, label=None):
            return torch.zeros_like(x)

    for process, mixed in ((VP(), "normal"), (CLD(), "velocity")):
        plain = Denoiser(Nothing(), process, mixed=mixed)
        half = Scaled(plain, lambda t: torch.full_like(t, 0.5))
        x = torch.cat([X] * process.groups, 1)
        assert plain.eps(x, 0.5).abs().max() > 0.01
        torch.testing.assert_close(half.eps(x, 0.5), 0.5 * plain.eps(x, 0.5))
