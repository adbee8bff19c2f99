"""The DDPM UNet against numbers from the DDIM repo, and what it does with odd input."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from models import build
from models.networks.blocks import Upsample, sinusoidal

GOLDEN = Path(__file__).parents[1] / "golden" / "models"
REAL = json.loads((GOLDEN / "real_configs.json").read_text())
SMALL = {"image_size": 8, "ch": 32, "ch_mult": (1, 2), "num_res_blocks": 1, "attn_resolutions": [4]}


def golden(name):
    arrays = np.load(GOLDEN / f"{name}.npz")
    options = json.loads((GOLDEN / "manifest.json").read_text())["files"][name]["config"]
    network = build("ddpm", **options).eval()
    weights = {k[3:]: torch.tensor(arrays[k]) for k in arrays.files if k.startswith("sd/")}
    network.load_state_dict(weights)
    return network, {k: torch.tensor(arrays[k]) for k in arrays.files if not k.startswith("sd/")}


def small(**options):
    torch.manual_seed(0)
    return build("ddpm", **{**SMALL, "dropout": 0.0, **options}).eval()


@pytest.mark.parametrize("name", ["ddim_tiny1", "ddim_tiny2"])
@torch.no_grad()
def test_outputs_of_the_ddim_repo(name):
    network, z = golden(name)
    x, t, want = z["in/x"], z["in/t"], z["out/y"]
    assert (network(x, t) - want).abs().max() < 2e-5
    assert (network(x, t.long()) - want).abs().max() < 2e-5
    last = network.to(memory_format=torch.channels_last)
    assert (last(x.to(memory_format=torch.channels_last), t) - want).abs().max() < 2e-5
    exact = network.double()(x.double(), t)
    assert exact.dtype == torch.float64
    assert (exact - z["out/y_float64"]).abs().max() < 2e-5  # embedded in float32 there


def test_time_embedding_of_the_ddim_repo():
    network, z = golden("ddim_tiny1")
    got = sinusoidal(z["in/t"], 32)
    assert (got - z["out/temb_sinusoidal"]).abs().max() < 1e-6


@pytest.mark.parametrize("name", REAL)
def test_names_shapes_and_order_of_the_real_networks(name):
    want = REAL[REAL[name].get("same_as", name)]
    with torch.device("meta"):
        network = build("ddpm", **REAL[name]["options"])
    assert [[k, list(v.shape)] for k, v in network.state_dict().items()] == want["keys"]
    assert sum(p.numel() for p in network.parameters()) == want["num_parameters"]


@pytest.mark.parametrize("gradients", [True, False])
def test_one_time_for_all_images(gradients):
    network, x = small(), torch.randn(5, 3, 8, 8)
    with torch.set_grad_enabled(gradients):
        shared = network(x, torch.tensor([37]))
        assert torch.allclose(shared, network(x, torch.full((5,), 37)), atol=1e-5)
        assert not torch.allclose(shared, network(x, torch.tensor([400])), atol=1e-3)


@torch.no_grad()
def test_fractional_and_large_times_differ():
    network, x = small(), torch.randn(2, 3, 8, 8)
    a, b = network(x, torch.tensor([10.0])), network(x, torch.tensor([10.5]))
    assert not torch.allclose(a, b, atol=1e-6)


@pytest.mark.parametrize("last", [False, True])
def test_the_answer_has_the_layout_of_the_images_and_they_are_untouched(last):
    layout = torch.channels_last if last else torch.contiguous_format
    network, x = small(), torch.randn(2, 3, 8, 8).contiguous(memory_format=layout)
    before = x.clone()
    with torch.no_grad():
        y = network(x, torch.tensor([3]))
    assert y.stride() == x.stride()
    assert torch.equal(x, before)


def test_gradients_agree_with_finite_differences():
    network = small(image_size=4, ch_mult=[1, 1], attn_resolutions=[2]).double().train()
    x = torch.randn(1, 3, 4, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: network(x, torch.tensor([7])), x, fast_mode=True)
    network(x, torch.tensor([7])).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


def test_dropout_acts_in_training_only():
    network, x = small(dropout=0.5), torch.randn(2, 3, 8, 8)
    t = torch.tensor([5])
    assert torch.equal(network(x, t), network(x, t))
    network.train()
    assert not torch.equal(network(x, t), network(x, t))


def test_bfloat16_autocast_stays_close():
    network, x = small(image_size=16, attn_resolutions=[8]), torch.randn(2, 3, 16, 16)
    want = network(x, torch.tensor([50]))
    with torch.autocast("cpu", torch.bfloat16):
        got = network(x, torch.tensor([50]))
    got.float().square().mean().backward()
    assert (got.float() - want).abs().max() < 0.05 * want.abs().max()


@pytest.mark.parametrize("side", [4, 8, 16])
def test_both_ways_of_upsampling_are_doubling_then_convolving(side):
    up = Upsample(32, with_conv=True).double()
    x = torch.randn(2, 32, side, side, dtype=torch.float64, requires_grad=True)
    double = x.repeat_interleave(2, 2).repeat_interleave(2, 3)
    got, want = up(x), up.conv(double)
    assert torch.allclose(got, want, rtol=0, atol=1e-12)
    wrt = [x, *up.parameters()]
    g = torch.randn_like(want)
    grads = (torch.autograd.grad(y, wrt, g, retain_graph=True) for y in (got, want))
    assert all(torch.allclose(a, b, rtol=0, atol=1e-9) for a, b in zip(*grads, strict=True))


@pytest.mark.slow
def test_compiles_as_one_graph():
    explained = torch._dynamo.explain(small())(torch.randn(2, 3, 8, 8), torch.tensor([3, 4]))
    assert explained.graph_count == 1
    assert explained.graph_break_count == 0


def test_one_channel_and_other_output_width():
    y = small(in_channels=1, out_ch=2)(torch.randn(2, 1, 8, 8), torch.tensor([3]))
    assert y.shape == (2, 2, 8, 8)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"ch": 48}, "ch: 48 .*multiple of 32.* 64 fits"),
        ({"image_size": 30, "ch_mult": [1, 2, 2]}, "image_size: 30 .*divisible by 4.* fits"),
        ({"attn_resolutions": [5]}, r"attn_resolutions: \[5\].*\[8, 4\]"),
        ({"ch": 0}, "ch 0 is not valid; it should be a whole number, at least 1"),
        ({"ch_mult": []}, r"ch_mult \[\] is not valid"),
        (
            {"ch_mult": [1, 0]},
            r"ch_mult \[1, 0\] .* a non-empty list of whole numbers, each at",
        ),
        ({"dropout": 1.0}, "dropout 1 is not valid; it should be a number, at least 0 and below 1"),
        ({"num_res_blocks": 0}, "num_res_blocks 0 is not valid"),
        ({"in_channels": 0}, "in_channels 0 is not valid"),
    ],
)
def test_options_that_do_not_fit_are_named(options, says):
    with pytest.raises(ValueError, match=says) as caught:
        small(**options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("shape", "t", "label", "says"),
    [
        ((2, 3, 8, 6), [1], None, "image_size"),
        ((2, 1, 8, 8), [1], None, "in_channels"),
        ((3, 8, 8), [1], None, r"images \(B, 3, 8, 8\)"),
        ((2, 3, 8, 8), [1, 2, 3], None, r"t has shape \(3,\)"),
        ((2, 3, 8, 8), 1, None, r"\(1,\)"),
        ((2, 3, 8, 8), [1], torch.tensor([0, 1]), "unconditional"),
    ],
)
def test_inputs_that_do_not_fit_are_named(shape, t, label, says):
    with pytest.raises(ValueError, match=says):
        small()(torch.randn(shape), torch.tensor(t), label)


def test_unknown_network():
    with pytest.raises(
        ValueError,
        match="dpm is unknown; it should be adm, .*; did you mean ddpm",
    ):
        build("dpm")
