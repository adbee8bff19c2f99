"""Networks of EDM: published sizes and names, blocks against plain sums, conditions, odd input.

Names and shapes are those of the snapshots that come with EDM (2206.00364), whose options are in
its appendix F: CIFAR-10 by DDPM++ and NCSN++, ImageNet at 64x64 by ADM.
"""

import pytest
import torch
from torch import nn

from models import build
from models.networks.edm_blocks import Block, Draw, Kit, Resampled

SMALL = {
    **{"image_size": 8, "model_channels": 32, "channel_mult": (1, 2), "num_blocks": 1},
    **{"attn_resolutions": [4], "dropout": 0.0, "num_classes": 3, "augment_dim": 9},
}
CIFAR = {"channel_mult": (2, 2, 2), "augment_dim": 9}
NCSNPP = {
    **{"embedding_type": "fourier", "channel_mult_noise": 2, "encoder_type": "residual"},
    "resample_filter": (1, 3, 3, 1),
}
WAYS = [
    ("song", {}),
    ("song", NCSNPP),
    ("song", {"encoder_type": "skip", "decoder_type": "skip"}),
    ("dhariwal", {}),
]
each_way = pytest.mark.parametrize(
    ("name", "options"), WAYS, ids=["ddpmpp", "ncsnpp", "skip", "adm"]
)


def small(name="song", **options):
    torch.manual_seed(0)
    return build(name, **{**SMALL, **options}).eval()


def awake(network):
    """Weights as large at the ends of blocks as elsewhere: else the answer hardly depends on x."""
    torch.manual_seed(1)
    for p in network.parameters():
        if p.ndim > 1:
            nn.init.xavier_uniform_(p)
        else:
            nn.init.normal_(p, std=0.1)
    return network


def given(n=2, dtype=torch.float32, side=8):
    """State, times, labels and augmentations for n images."""
    torch.manual_seed(2)
    x, t = torch.randn(n, 3, side, side, dtype=dtype), torch.linspace(-1, 1, n, dtype=dtype)
    return x, t, torch.arange(n) % 3, torch.randn(n, 9, dtype=dtype)


def size(module):
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(
    ("name", "options", "numbers", "tensors"),
    [
        ("song", CIFAR, 55_733_891, 425),  # 55.7 million in the paper's table
        ("song", {**CIFAR, "num_classes": 10}, 55_735_299, 427),
        ("song", {**CIFAR, **NCSNPP}, 56_397_827, 432),
        ("song", {}, 61_804_419, 552),  # the DDPM++ of the score SDEs has as many
        ("dhariwal", {"num_classes": 1000}, 295_899_267, 553),  # 295.9 million
    ],
)
def test_size_of_the_published_networks(name, options, numbers, tensors):
    with torch.device("meta"):
        network = build(name, **options)
    assert (size(network), len(network.state_dict())) == (numbers, tensors)


def names(*groups):
    return [f"{block}.{leaf}" for block, leaves in groups for leaf in leaves.split()]


PLAIN = "norm0.weight norm0.bias conv0.weight conv0.bias affine.weight affine.bias norm1.weight"
PLAIN += " norm1.bias conv1.weight conv1.bias"
SIDED = PLAIN.replace("conv0.bias", "conv0.bias conv0.resample_filter")
PROJECT = " skip.weight skip.bias"
ATTEND = " norm2.weight norm2.bias qkv.weight qkv.bias proj.weight proj.bias"
BOTH = "weight bias"


def test_names_of_ddpmpp():
    with torch.device("meta"):
        state = build("song", **CIFAR, num_classes=10, num_blocks=1).state_dict()
    moved = SIDED + PROJECT + " skip.resample_filter"
    assert list(state) == names(
        *[("map_label", BOTH), ("map_augment", "weight")],
        *[("map_layer0", BOTH), ("map_layer1", BOTH)],
        *[("enc.32x32_conv", BOTH), ("enc.32x32_block0", PLAIN + PROJECT)],
        *[("enc.16x16_down", moved), ("enc.16x16_block0", PLAIN + ATTEND)],
        *[("enc.8x8_down", moved), ("enc.8x8_block0", PLAIN)],
        *[("dec.8x8_in0", PLAIN + ATTEND), ("dec.8x8_in1", PLAIN)],
        *[(f"dec.8x8_block{i}", PLAIN + PROJECT) for i in (0, 1)],
        *[("dec.16x16_up", moved), ("dec.16x16_block0", PLAIN + PROJECT)],
        ("dec.16x16_block1", PLAIN + PROJECT + ATTEND),
        *[("dec.32x32_up", moved)],
        *[(f"dec.32x32_block{i}", PLAIN + PROJECT) for i in (0, 1)],
        *[("dec.32x32_aux_norm", BOTH), ("dec.32x32_aux_conv", BOTH)],
    )
    shapes = {key: tuple(value.shape) for key, value in state.items()}
    assert shapes["map_label.weight"] == (128, 10)
    assert shapes["map_augment.weight"] == (128, 9)
    assert shapes["map_layer0.weight"] == (512, 128)
    assert shapes["enc.16x16_down.skip.resample_filter"] == (1, 1, 2, 2)
    assert shapes["enc.16x16_block0.qkv.weight"] == (768, 256, 1, 1)
    assert shapes["enc.16x16_block0.affine.weight"] == (256, 512)
    assert shapes["dec.32x32_block1.conv0.weight"] == (256, 384, 3, 3)


def test_names_that_only_ncsnpp_has():
    with torch.device("meta"):
        state = build("song", **CIFAR, **NCSNPP).state_dict()
    shapes = {key: tuple(value.shape) for key, value in state.items() if "aux_res" in key}
    assert shapes == {
        "enc.16x16_aux_residual.weight": (256, 3, 3, 3),
        "enc.16x16_aux_residual.bias": (256,),
        "enc.16x16_aux_residual.resample_filter": (1, 1, 4, 4),
        "enc.8x8_aux_residual.weight": (256, 256, 3, 3),
        "enc.8x8_aux_residual.bias": (256,),
        "enc.8x8_aux_residual.resample_filter": (1, 1, 4, 4),
    }
    assert (state["map_noise.freqs"].shape, state["map_layer0.weight"].shape) == (
        (128,),
        (512, 256),
    )


def test_names_of_adm():
    with torch.device("meta"):
        state = build("dhariwal", num_classes=1000, augment_dim=9, num_blocks=1).state_dict()
    shapes = {key: tuple(value.shape) for key, value in state.items()}
    first = "map_augment.weight map_layer0.weight map_layer0.bias map_layer1.weight map_layer1.bias"
    assert list(state)[:6] == [*first.split(), "map_label.weight"]
    assert list(state)[-4:] == names(("out_norm", BOTH), ("out_conv", BOTH))
    down = [key for key in state if key.startswith("enc.32x32_down")]
    assert down == names(("enc.32x32_down", SIDED + " skip.resample_filter"))  # no convolution
    attending = [key.split(".")[1] for key in state if key.endswith("qkv.weight")]
    assert attending == [
        *("32x32_block0", "16x16_block0", "8x8_block0", "8x8_in0"),
        *(f"{side}_block{i}" for side in ("8x8", "16x16", "32x32") for i in (0, 1)),
    ]
    assert shapes["map_label.weight"] == (768, 1000)
    assert shapes["enc.64x64_block0.affine.weight"] == (384, 768)  # a scale and a shift


def plain_norm(layer, h, groups, eps):
    h = nn.functional.group_norm(h, groups, eps=eps)
    return h * layer.weight[:, None, None] + layer.bias[:, None, None]


@torch.no_grad()
@pytest.mark.parametrize("adaptive", [False, True])
def test_the_inside_of_a_block(adaptive):
    draw, silu = Draw("glorot", 1.0, 1.0), nn.functional.silu
    torch.manual_seed(0)
    kit = Kit(16, 0.0, 2, 0.5, 1e-5, (1.0, 1.0), not adaptive, adaptive, draw, draw, draw)
    block = awake(Block(kit, 24, 24, down=True, attend=True).double())
    x, emb = torch.randn(2, 24, 6, 4).double(), torch.randn(2, 16).double()

    def half(h):  # the mean of 2x2 pixels
        return (h[..., ::2, ::2] + h[..., 1::2, ::2] + h[..., ::2, 1::2] + h[..., 1::2, 1::2]) / 4

    h = half(silu(plain_norm(block.norm0, x, 6, 1e-5)))
    h = nn.functional.conv2d(h, block.conv0.weight, block.conv0.bias, padding=1)
    told = (emb @ block.affine.weight.T + block.affine.bias)[:, :, None, None]
    if adaptive:
        h = silu((1 + told[:, :24]) * plain_norm(block.norm1, h, 6, 1e-5) + told[:, 24:])
        beside = half(x)
    else:
        h = silu(plain_norm(block.norm1, h + told, 6, 1e-5))
        beside = torch.einsum("oi,bihw->bohw", block.skip.weight[:, :, 0, 0], half(x))
        beside = beside + block.skip.bias[:, None, None]
    h = (block.conv1(h) + beside) / 2
    dense = plain_norm(block.norm2, h, 6, 1e-5).flatten(2)
    dense = block.qkv.weight[:, :, 0, 0] @ dense + block.qkv.bias[:, None]  # (2, 72, 6)
    answers = []
    for head in range(2):  # rows of the layer: head, channel, then query, key and value
        q, k, v = (dense[:, 36 * head + i : 36 * head + 36 : 3] for i in range(3))
        share = (q.transpose(1, 2) @ k / 12**0.5).softmax(2)
        answers.append(v @ share.transpose(1, 2))
    a = block.proj.weight[:, :, 0, 0] @ torch.cat(answers, 1) + block.proj.bias[:, None]
    want = (h + a.unflatten(2, (3, 2))) / 2
    assert torch.allclose(block(x, emb), want, rtol=0, atol=1e-10)


@torch.no_grad()
def test_resampling_with_a_filter():
    x, taps = torch.randn(1, 1, 6, 6).double(), torch.tensor([1.0, 3.0, 3.0, 1.0]).double() / 8
    padded = nn.functional.pad(x, (1, 1, 1, 1))[0, 0]
    want = x.new_zeros(3, 3)
    for i in range(3):
        for j in range(3):
            want[i, j] = taps @ padded[2 * i : 2 * i + 4, 2 * j : 2 * j + 4] @ taps
    assert torch.allclose(Resampled((1, 3, 3, 1)).double()(x)[0, 0], want, atol=1e-12)
    grown = Resampled((1, 3, 3, 1), up=True).double()(x)
    assert grown.shape == (1, 1, 12, 12)
    near, far = x[0, 0, 2, 2], x[0, 0, 1, 1]  # pixel 4 lies a quarter from old pixel 2
    mixed = (x[0, 0, 1, 2] + x[0, 0, 2, 1]) * 3
    assert grown[0, 0, 4, 4] == pytest.approx(float(9 * near + mixed + far) / 16)
    conv = nn.Conv2d(1, 2, 3).double()
    last = Resampled((1, 3, 3, 1), conv, filter_last=True).double()
    padded = nn.functional.pad(x, (2, 2, 2, 2))
    inner = nn.functional.conv2d(padded, conv.weight)  # (1, 2, 8, 8), one pixel of margin
    want = torch.einsum("i,bcij,j->bc", taps, inner[..., 2:6, 4:8], taps) + conv.bias
    assert torch.allclose(last(x)[..., 1, 2], want, atol=1e-12)


@torch.no_grad()
def test_the_way_through_ncsnpp():
    network, (x, t, label, told) = awake(small(**NCSNPP)), given()
    enc, dec, silu = network.enc, network.dec, nn.functional.silu
    angle = 2 * torch.pi * t[:, None] * network.map_noise.freqs
    emb = torch.cat([angle.sin(), angle.cos()], 1) + told @ network.map_augment.weight.T
    hot = nn.functional.one_hot(label, 3).float() * 3**0.5
    emb = silu(network.map_layer1(silu(network.map_layer0(emb + network.map_label(hot)))))
    big = enc["8x8_conv"](x)
    kept = enc["8x8_block0"](big, emb)
    low = (enc["4x4_aux_residual"](x) + enc["4x4_down"](kept, emb)) / 2**0.5
    lowest = enc["4x4_block0"](low, emb)
    h = dec["4x4_in1"](dec["4x4_in0"](lowest, emb), emb)
    for name, skip in (("4x4_block0", lowest), ("4x4_block1", low)):
        h = dec[name](torch.cat([h, skip], 1), emb)
    h = dec["8x8_up"](h, emb)
    for name, skip in (("8x8_block0", kept), ("8x8_block1", big)):
        h = dec[name](torch.cat([h, skip], 1), emb)
    want = dec["8x8_aux_conv"](silu(dec["8x8_aux_norm"](h)))
    assert torch.allclose(network(x, t, label, told), want, atol=1e-5)


@each_way
@torch.no_grad()
def test_images_of_a_batch_do_not_meet(name, options):
    network = awake(small(name, **options)).double()
    x, t, label, told = given(3, torch.float64)
    whole = network(x, t, label, told)
    for i in range(3):
        one = network(*(value[i : i + 1] for value in (x, t, label, told)))
        assert torch.allclose(one, whole[i : i + 1], atol=1e-10)


@each_way
@torch.no_grad()
def test_each_condition_acts_and_no_augmentation_is_zeros(name, options):
    network, (x, t, label, told) = awake(small(name, **options)), given()
    answer = network(x, t, label, told)
    for other in ((t + 2, label, told), (t, label.flip(0), told), (t, label, 2 * told)):
        assert (network(x, *other) - answer).abs().amax((1, 2, 3)).min() > 1e-3
    assert torch.allclose(network(x, t, label), network(x, t, label, 0 * told), atol=1e-5)


@each_way
def test_every_weight_learns_and_the_first_answer_is_almost_zero(name, options):
    network, given_ = small(name, **options).train(), given()
    assert network(*given_).abs().max() < 1e-3
    awake(network)(*given_).square().mean().backward()
    idle = [key for key, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert not idle


@each_way
@torch.no_grad()
def test_dtype_layout_and_other_sides(name, options):
    network, (x, t, label, told) = awake(small(name, **options)), given()
    last = x.contiguous(memory_format=torch.channels_last)
    rough = network(x, t, label, told)
    assert rough.stride() == x.stride()
    assert network(last, t, label, told).stride() == last.stride()
    exact = network.double()(x.double(), t.double(), label, told.double())
    assert (rough.dtype, exact.dtype) == (torch.float32, torch.float64)
    assert (rough - exact).abs().max() < 1e-4 * exact.abs().max()
    assert network(torch.randn(1, 3, 12, 6).double(), t[:1], label[:1]).shape == (1, 3, 12, 6)


@each_way
def test_bfloat16_autocast_stays_close(name, options):
    network, conditions = awake(small(name, **options)), given()
    want = network(*conditions)
    with torch.autocast("cpu", torch.bfloat16):
        got = network(*conditions)
    got.float().square().mean().backward()
    assert (got.float() - want).abs().max() < 0.1 * want.abs().max()


@pytest.mark.slow
@each_way
def test_compiles_as_one_graph(name, options):
    explained = torch._dynamo.explain(small(name, **options))(*given())
    assert (explained.graph_count, explained.graph_break_count) == (1, 0)


def test_first_weights():
    torch.manual_seed(0)
    kit = build("song", num_classes=10, augment_dim=9, channel_mult=(1,), num_blocks=1,
                image_size=16)  # fmt: skip
    wide = kit.enc["16x16_block0"]
    spread = {key: p.std().item() for key, p in wide.named_parameters() if p.ndim > 1}
    fan = 2 / (128 + 128)
    assert spread["conv0.weight"] == pytest.approx((fan / 9) ** 0.5, rel=0.02)
    assert spread["conv1.weight"] == pytest.approx(1e-5 * (fan / 9) ** 0.5, rel=0.02)
    assert spread["affine.weight"] == pytest.approx((2 / (512 + 128)) ** 0.5, rel=0.02)
    assert spread["qkv.weight"] == pytest.approx((0.2 * 2 / (4 * 128)) ** 0.5, rel=0.02)
    assert not wide.conv0.bias.any()
    network = small("dhariwal", model_channels=64)
    block = network.enc["8x8_block0"]
    assert block.conv0.weight.std().item() == pytest.approx((1 / 3 / 576) ** 0.5, rel=0.02)
    assert block.conv0.bias.std().item() == pytest.approx((1 / 3 / 576) ** 0.5, rel=0.3)
    assert not (block.conv1.weight.any() or network.out_conv.weight.any())


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("song", {"image_size": 30, "channel_mult": (1, 2, 2)}, "image_size: 30 .*divisible by 4"),
        ("song", {"attn_resolutions": [5]}, r"attn_resolutions: \[5\].*\[8, 4\]"),
        ("song", {"model_channels": 36, "channel_mult": (1, 4)}, "model_channels: .*144 channels"),
        ("song", {"model_channels": 2}, "channel_mult_noise: the time has 2 channels"),
        ("song", {"resample_filter": [1, 2, 1]}, r"resample_filter: \[1, 2, 1\] .*even number"),
        ("song", {"encoder_type": "unet"}, "encoder_type unet .*standard, skip or residual"),
        ("song", {"dropout": 1.0}, "dropout 1 is not valid"),
        ("song", {"augment_dim": -1}, "augment_dim -1 is not valid"),
        ("dhariwal", {"model_channels": 160, "channel_mult": (1,), "image_size": 4,
                      "attn_resolutions": []}, None),
        ("dhariwal", {"model_channels": 1}, "model_channels: 1 must be even"),
        ("dhariwal", {"num_blocks": 0}, "num_blocks 0 is not valid"),
    ],
)  # fmt: skip
def test_options_that_do_not_fit_are_named(name, options, says):
    if says is None:  # two heads of 80 channels
        assert small(name, **options).dec["4x4_in0"].heads == 2
        return
    with pytest.raises(ValueError, match=says) as caught:
        small(name, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"x": torch.zeros(2, 3, 8, 7)}, "8x7 pixels.*divisible by 2"),
        ({"x": torch.zeros(2, 1, 8, 8)}, "in_channels"),
        ({"t": torch.zeros(3)}, r"t has shape \(3,\)"),
        ({"label": None}, "3 classes; it needs labels"),
        ({"label": torch.tensor([0, 3])}, r"label 3 is not in 0\.\.2"),
        ({"augment": torch.zeros(2, 8)}, r"augment has shape \(2, 8\).*must be \(2, 9\)"),
    ],
)
@pytest.mark.parametrize("name", ["song", "dhariwal"])
def test_inputs_that_do_not_fit_are_named(name, change, says):
    inputs = dict(zip(("x", "t", "label", "augment"), given(), strict=True))
    with pytest.raises(ValueError, match=says):
        small(name)(**{**inputs, **change})
    with pytest.raises(ValueError, match=r"augment_dim 0 it must be None"):
        small(name, augment_dim=0)(**inputs)
