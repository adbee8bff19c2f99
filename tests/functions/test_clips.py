"""Clips by hand; tests/functions/test_peers.py sets them beside diffusers."""

import pytest
import torch

from functions.clips import CLIPS, Clip
from functions.denoiser import Denoiser
from functions.plan import solve
from functions.process import VP
from functions.samplers import SAMPLERS


def image(*values):
    return torch.tensor(values, dtype=torch.float64).view(1, 1, 1, -1)


def test_a_static_clip_clamps():
    got = CLIPS["static"](bound=0.5)(image(-2.0, -0.2, 0.4, 0.6))
    assert got.flatten().tolist() == [-0.5, -0.2, 0.4, 0.5]


def test_a_dynamic_clip_scales_each_image_by_its_own_quantile():
    loud, quiet = image(-4.0, -1.0, 0.0, 2.0), image(-0.9, 0.1, 0.2, 0.3)
    got = CLIPS["dynamic"](ratio=2 / 3)(torch.cat([loud, quiet]))  # |loud| sorted: 0 1 2 4
    assert got[0].flatten().tolist() == [-1.0, -0.5, 0.0, 1.0]
    assert torch.equal(got[1:], quiet)
    capped = CLIPS["dynamic"](ratio=2 / 3, most=1.25)(loud)
    assert capped.flatten().tolist() == [-1.0, -0.8, 0.0, 1.0]


def test_options_out_of_range_are_refused():
    for name, options, text in [
        ("static", {"bound": 0.0}, "bound 0 is not valid; it should be a number above 0"),
        ("dynamic", {"ratio": 1.5}, "ratio 1.5 is not valid; it should be a number above 0 and at"),
        ("dynamic", {"most": 0.5}, "most 0.5 is not valid; it should be a number, at least 1"),
    ]:
        with pytest.raises(ValueError, match=text):
            CLIPS[name](**options)


@pytest.mark.parametrize("keep", [True, False])
def test_a_step_goes_on_with_the_predicted_or_with_the_fitting_noise(keep):
    """DDIM's step by hand: clipped data, and the noise that was predicted or that fits them."""

    class Network(torch.nn.Module):
        def forward(self, x, t, label=None):
            return 0.3 * x

    vp, x = VP(), image(-3.0, -0.5, 0.1, 2.0)
    denoiser = Denoiser(Network(), vp, clip=Clip(keep_eps=keep))
    plan = SAMPLERS["ddim"](vp, torch.tensor([600.0, 200.0]))
    move = denoiser.moved if keep else None
    (got,) = solve(plan, denoiser.eps, x, move=move)
    (a, b), (sigma, low) = (f(torch.tensor([600.0, 200.0])) for f in (vp.alpha, vp.sigma))
    clean = ((x - sigma * 0.3 * x) / a).clamp(-1, 1)
    noise = 0.3 * x if keep else (x - a * clean) / sigma
    torch.testing.assert_close(got, b * clean + low * noise)
