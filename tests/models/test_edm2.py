"""EDM2's network: published size and names, magnitudes that are kept, forced norms, conditions.

Names are those of the published snapshots of EDM2 (2312.02696), whose size S has 280.2 million
numbers.
"""

import pytest
import torch

from models import build
from models.networks.edm2_blocks import Block, Dense, mp_cat, mp_silu, mp_sum

SMALL = {
    **{"image_size": 8, "model_channels": 32, "channel_mult": (1, 2), "num_blocks": 1},
    **{"attn_resolutions": [4], "num_classes": 3},
}
SHARED = {"emb": 8, "dropout": 0.0, "clip": 256.0, "res_balance": 0.3, "attn_balance": 0.3}


def small(**options):
    torch.manual_seed(0)
    network = build("edm2", **{**SMALL, **options}).eval()
    with torch.no_grad():
        for p in network.parameters():
            if p.ndim == 0:
                p.fill_(0.7)  # the gains begin at 0
    return network


def given(n=2, dtype=torch.float32):
    torch.manual_seed(2)
    x, t = torch.randn(n, 3, 8, 8, dtype=dtype), torch.linspace(-1, 1, n, dtype=dtype)
    return x, t, torch.arange(n) % 3


def test_size_and_names_of_the_published_network():
    with torch.device("meta"):
        network = build("edm2", in_channels=4, out_channels=4, num_classes=1000)
    state = network.state_dict()
    assert round(sum(p.numel() for p in network.parameters()) / 1e6, 1) == 280.2
    named = {key.removeprefix("unet.") for key in state}
    assert len(named) == len(state)
    first = {"emb_fourier.freqs", "emb_fourier.phases", "emb_noise.weight", "emb_label.weight"}
    assert {*first, "out_gain", "out_conv.weight", "enc.64x64_conv.weight"} <= named
    leaves = {"emb_gain", "conv_res0.weight", "emb_linear.weight", "conv_res1.weight"}
    attends = {"attn_qkv.weight", "attn_proj.weight"}

    def inside(block):
        return {key.removeprefix(f"{block}.") for key in named if key.startswith(f"{block}.")}

    assert inside("enc.64x64_block0") == inside("dec.32x32_up") == inside("dec.8x8_in1") == leaves
    assert inside("enc.32x32_block0") == inside("dec.64x64_block0") == {*leaves, "conv_skip.weight"}
    assert inside("dec.8x8_in0") == inside("enc.8x8_block2") == leaves | attends
    assert state["unet.enc.64x64_conv.weight"].shape == (192, 5, 3, 3)  # and a channel of ones


@torch.no_grad()
def test_magnitudes_are_kept():
    torch.manual_seed(0)
    a, b = torch.randn(64, 32, 8, 8), torch.randn(64, 96, 8, 8)
    mean_square = {
        "silu": mp_silu(a).square().mean().item(),
        "sum": mp_sum(a, b[:, :32], 0.3).square().mean().item(),
        "cat": mp_cat(a, b, 0.3).square().mean().item(),
        "conv": Dense(32, 48, 1).eval()(a).square().mean().item(),
    }
    assert mean_square == pytest.approx(dict.fromkeys(mean_square, 1.0), rel=0.03)
    joined = mp_cat(a, b, 0.5)  # both halves contribute alike, though one has more channels
    parts = [h.square().sum().item() for h in (joined[:, :32], joined[:, 32:])]
    assert parts[0] == pytest.approx(parts[1], rel=0.03)


@torch.no_grad()
def test_the_inside_of_a_block():
    torch.manual_seed(0)
    block = Block(4, 6, encode=True, attend=True, **SHARED).double().eval()
    block.emb_gain.fill_(0.7)
    state, emb = torch.randn(2, 4, 3, 2).double(), torch.randn(2, 8).double()

    def rows(layer):
        w = layer.weight.flatten(1)
        return (w / (w.square().mean(1, keepdim=True).sqrt() + 1e-4) / w.shape[1] ** 0.5).view_as(
            layer.weight
        )

    def pixels(h):
        return h / (h.square().mean(1, keepdim=True).sqrt() + 1e-4)

    def silu(h):
        return h * h.sigmoid() / 0.596

    conv = torch.nn.functional.conv2d
    x = pixels(torch.einsum("oi,bihw->bohw", rows(block.conv_skip)[:, :, 0, 0], state))
    h = conv(silu(x), rows(block.conv_res0), padding=1)
    h = silu(h * (1 + 0.7 * emb @ rows(block.emb_linear).T)[:, :, None, None])
    h = conv(h, rows(block.conv_res1), padding=1)
    x = (0.7 * x + 0.3 * h) / 0.58**0.5
    dense = rows(block.attn_qkv)[:, :, 0, 0] @ x.flatten(2)
    q, k, v = (pixels(dense[:, i::3]) for i in range(3))
    a = v @ (q.transpose(1, 2) @ k / 6**0.5).softmax(2).transpose(1, 2)
    a = (rows(block.attn_proj)[:, :, 0, 0] @ a).unflatten(2, (3, 2))
    want = (0.7 * x + 0.3 * a) / 0.58**0.5
    assert torch.allclose(block(state, emb), want, rtol=0, atol=1e-10)


def test_training_sets_every_norm_and_every_weight_learns():
    network = small().train()
    with torch.no_grad():
        network.unet.out_conv.weight.mul_(5)
    answer = network(*given())
    answer.square().mean().backward()
    for key, p in network.named_parameters():
        assert p.grad.any(), key
        if p.ndim > 1:
            norms = p.detach().flatten(1).square().mean(1)
            assert torch.allclose(norms, torch.ones_like(norms), atol=1e-3)
    assert torch.allclose(network.eval()(*given()), answer, atol=1e-3)
    fresh = build("edm2", **SMALL)
    assert not fresh(*given()).any()


@torch.no_grad()
def test_images_of_a_batch_do_not_meet_and_conditions_act():
    network, (x, t, label) = small().double(), given(3, torch.float64)
    whole = network(x, t, label)
    for i in range(3):
        one = network(x[i : i + 1], t[i : i + 1], label[i : i + 1])
        assert torch.allclose(one, whole[i : i + 1], atol=1e-10)
    for other in ((t + 0.5, label), (t, (label + 1) % 3)):
        assert (network(x, *other) - whole).abs().amax((1, 2, 3)).min() > 1e-2
    assert network(torch.randn(1, 3, 12, 6).double(), t[:1], label[:1]).shape == (1, 3, 12, 6)
