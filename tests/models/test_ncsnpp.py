"""NCSN++ and DDPM++: published sizes, filters against slow sums, odd settings and odd input."""

import pytest
import torch
from torch import nn

from models import build
from models.networks.filters import Filter, Grow, Shrink
from models.networks.ncsnpp import Block

SMALL = {"image_size": 8, "ch": 32, "ch_mult": (1, 2), "num_res_blocks": 1, "attn_resolutions": [4]}
DDPMPP = {
    "num_res_blocks": 4,
    "fir": False,
    "embedding": "positional",
    "progressive_input": "none",
}
CLD = {"in_channels": 6, "out_ch": 6}


def small(**options):
    torch.manual_seed(0)
    return build("ncsnpp", **{**SMALL, "dropout": 0.0, **options}).eval()


def awake(network):
    """Weights as large at the ends of blocks as elsewhere: else the answer hardly depends on x."""
    torch.manual_seed(1)
    for p in network.parameters():
        if p.ndim > 1:
            nn.init.xavier_uniform_(p)
    return network


@pytest.mark.parametrize(
    ("options", "numbers", "tensors"),
    [
        (CLD, 107_597_446, 963),
        ({}, 107_587_075, 963),
        ({**CLD, **DDPMPP}, 61_811_334, 564),
        (DDPMPP, 61_804_419, 564),
    ],
)
def test_size_of_the_published_networks(options, numbers, tensors):
    with torch.device("meta"):
        network = build("ncsnpp", **options)
    saved = network.state_dict()
    assert (sum(v.numel() for v in saved.values()), len(saved)) == (numbers, tensors)
    fixed = 0 if options.get("embedding") == "positional" else 128
    assert sum(p.numel() for p in network.parameters()) == numbers - fixed


def test_the_parts_of_the_published_network():
    with torch.device("meta"):
        network = build("ncsnpp", **CLD)
    attending = [b.attn for b in (*network.down, *network.mid, *network.up) if b.attn]
    assert [size(a) for a in attending] == [263_680] * 10  # 8 down, 1 in the middle, 1 up
    assert [size(p) for p in network.pyramid] == [7_040, 295_168, 590_080]
    down = [size(b) - (size(b.attn) if b.attn else 0) for b in network.down]
    wide = [1_312_512] * 8
    assert down[:18] == [361_344] * 8 + [377_856, 1_050_368, *wide[1:], 1_378_304]
    assert down[18:] == [*wide, 1_378_304, *wide]
    up = [size(b) - (size(b.attn) if b.attn else 0) for b in network.up]
    assert up[:20] == 2 * ([2_034_176] * 9 + [1_378_304])
    assert up[20:] == [2_034_176] * 8 + [1_706_240, 1_378_304, 706_048] + [541_952] * 8
    assert size(network.conv_in) + size(network.conv_out) == 7_040 + 6_918


def size(module):
    return sum(p.numel() for p in module.parameters())


@torch.no_grad()
def test_the_way_through_the_network():
    network, x, t = awake(small()), torch.randn(2, 3, 8, 8), torch.tensor([3.0, 700.0])
    temb = network.temb(t, like=x)
    (down, shrink, attends), (first, second) = network.down, network.mid
    big = network.conv_in(x)
    kept = down(big, temb)
    low = (network.pyramid[0](x) + shrink(kept, temb)) / 2**0.5
    lowest = attends(low, temb)
    h = second(first(lowest, temb), temb)
    for block, skip in zip(network.up, (lowest, low, None, kept, big), strict=True):
        h = block(h if skip is None else torch.cat([h, skip], 1), temb)
    want = network.conv_out(nn.functional.silu(network.norm_out(h)))
    assert torch.allclose(network(x, t), want, atol=1e-5)
    assert [bool(b.attn) for b in (first, second)] == [True, False]
    assert [bool(b.attn) for b in network.up] == [False, True, False, False, False]


@torch.no_grad()
def test_the_inside_of_a_block():
    torch.manual_seed(0)
    block = Block(8, 72, 16, 0.0, 2**-0.5, Filter((1, 3, 3, 1), 2), attend=True).double()
    x, temb = torch.randn(2, 8, 6, 4).double(), torch.randn(2, 16).double()

    def dense(layer, h):
        return layer.weight.flatten(1) @ h + layer.bias[:, None]

    def norm(layer, h, groups):
        h = nn.functional.group_norm(h, groups, eps=1e-6)
        return h * layer.weight[:, None, None] + layer.bias[:, None, None]

    h = slow_filter(nn.functional.silu(norm(block.norm1, x, 2)), (1, 3, 3, 1), 2, (6, 4))
    h = block.conv1(h[:, :, ::2, ::2]) + (temb @ block.temb_proj.weight.T)[:, :, None, None]
    h = h + block.temb_proj.bias[:, None, None]
    h = block.conv2(nn.functional.silu(norm(block.norm2, h, 18)))
    beside = slow_filter(x, (1, 3, 3, 1), 2, (6, 4))[:, :, ::2, ::2].flatten(2)
    h = (h.flatten(2) + dense(block.shortcut, beside)) / 2**0.5
    a = norm(block.attn.norm, h.unflatten(2, (3, 2)), 18).flatten(2)
    q, k, v = (dense(layer, a) for layer in (block.attn.q, block.attn.k, block.attn.v))
    share = (q.transpose(1, 2) @ k / 72**0.5).softmax(2)  # of every pixel in every pixel
    want = (h + dense(block.attn.proj_out, v @ share.transpose(1, 2))) / 2**0.5
    assert torch.allclose(block(x, temb).flatten(2), want, rtol=0, atol=1e-10)


def insert_zeros(x):
    batch, channels, height, width = x.shape
    y = x.new_zeros(batch, channels, 2 * height, 2 * width)
    y[:, :, ::2, ::2] = x
    return y


def slow_filter(x, taps, first, count):
    """y[i] = sum_k taps[k] x[i + first - k] / sum(taps) along both axes, i from 0 to count - 1."""
    for axis in (2, 3):
        pixels = x.unbind(axis)
        rows = []
        for i in range(count[axis - 2]):
            row = torch.zeros_like(pixels[0])
            for k, tap in enumerate(taps):
                if 0 <= i + first - k < len(pixels):
                    row = row + tap / sum(taps) * pixels[i + first - k]
            rows.append(row)
        x = torch.stack(rows, axis)
    return x


@pytest.mark.parametrize("taps", [(1, 3, 3, 1), (1, 1), (1.0, 2.5, 3, 4, 0.5, 7)])
@pytest.mark.parametrize("shape", [(2, 3, 6, 4), (1, 2, 2, 10)])
def test_filters_against_slow_sums(taps, shape):
    x, (height, width) = torch.randn(shape, dtype=torch.float64), shape[2:]
    half = len(taps) // 2
    down, up, longer = Filter(taps, 2).double(), Grow(taps).double(), Filter(taps, 1).double()
    every = slow_filter(x, taps, half, (height, width))
    assert torch.allclose(down(x), every[:, :, ::2, ::2], rtol=0, atol=1e-6)
    double = 4 * slow_filter(insert_zeros(x), taps, half - 1, (2 * height, 2 * width))
    assert torch.allclose(up(x), double, rtol=0, atol=1e-6)
    wide = slow_filter(x, taps, half - 1, (height + 1, width + 1))
    assert torch.allclose(longer(x), wide, rtol=0, atol=1e-6)


def test_filters_keep_a_constant_and_their_channels_apart():
    x = torch.zeros(1, 2, 8, 8)
    x[:, 1] = 3.0
    for module, inside in (
        (Filter((1, 3, 3, 1), 2), slice(1, 3)),
        (Grow((1, 3, 3, 1)), slice(1, 15)),
    ):
        y = module(x)[:, :, inside, inside]
        assert torch.equal(y[:, 0], torch.zeros_like(y[:, 0]))
        assert torch.allclose(y[:, 1], torch.full_like(y[:, 1], 3.0))


@pytest.mark.parametrize("taps", [None, (1, 3, 3, 1)])
def test_the_small_pictures_are_filtered_then_convolved(taps):
    shrink, x = Shrink(2, 3, taps).double(), torch.randn(1, 2, 6, 4, dtype=torch.float64)
    if taps is None:
        smooth = torch.nn.functional.pad(x, (0, 1, 0, 1))
    else:
        smooth = slow_filter(x, taps, 1, (7, 5))
    patches = smooth.unfold(2, 3, 2).unfold(3, 3, 2)
    want = torch.einsum("bchwij,ocij->bohw", patches, shrink.conv.weight)
    want = want + shrink.conv.bias[:, None, None]
    assert torch.allclose(shrink(x), want, rtol=0, atol=1e-12)


ODD = [
    {},
    {"fir": False},
    {"embedding": "positional", "progressive_input": "none", "skip_rescale": False},
    {"ch_mult": [1], "attn_resolutions": [8]},
    {"ch_mult": [2, 1, 3], "num_res_blocks": 2, "attn_resolutions": [8, 2], "in_channels": 2},
    {"ch": 4, "out_ch": 1, "attn_resolutions": [], "fir_kernel": [1, 2, 5, 5, 2, 1]},
    {"ch": 12, "ch_mult": [1, 1], "fir": False, "in_channels": 1},
]


@pytest.mark.parametrize("options", ODD)
def test_odd_settings_answer_and_learn_everywhere(options):
    network = small(**options).train()
    channels, out = network.conv_in.in_channels, network.conv_out.out_channels
    x = torch.randn(3, channels, 8, 8)
    y = network(x, torch.tensor([999.0, 0.01, 37.0]))
    assert y.shape == (3, out, 8, 8)
    assert y.abs().max() < 1e-3  # the last convolution begins near zero
    y = awake(network)(x, torch.tensor([999.0, 0.01, 37.0]))
    assert y.abs().max() > 0.01
    y.square().sum().backward()
    flat = ("attn.k.bias",)  # attention does not change with it
    for name, p in network.named_parameters():
        assert p.grad is not None and p.grad.isfinite().all(), name
        assert p.grad.abs().max() > 0 or name.endswith(flat), name


@pytest.mark.parametrize("fir", [True, False])
@pytest.mark.parametrize("shape", [(4, 12), (16, 6), (2, 2), (10, 8)])
@torch.no_grad()
def test_sides_other_than_image_size(fir, shape):
    network, t = awake(small(fir=fir)), torch.tensor([5.0])
    x = torch.randn(2, 3, *shape)
    y = network(x, t)
    assert y.shape == x.shape
    assert torch.allclose(y[1:], network(x[1:], t), atol=1e-5)  # images do not see each other


@pytest.mark.parametrize("fir", [True, False])
@torch.no_grad()
def test_images_on_their_side(fir):
    """Height and width are treated alike: image and kernels transposed, answer transposed."""
    network, x = awake(small(fir=fir)), torch.randn(2, 3, 4, 8)
    want = network(x, torch.tensor([5.0])).transpose(2, 3)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            module.weight.copy_(module.weight.transpose(2, 3).clone())
    assert torch.allclose(network(x.transpose(2, 3), torch.tensor([5.0])), want, atol=1e-5)


@pytest.mark.parametrize(("rescale", "want"), [(True, 1.0), (False, 2.0)])
@pytest.mark.parametrize("resample", [None, Filter((1, 1), 2)])
@torch.no_grad()
def test_skip_rescale_keeps_the_variance(rescale, want, resample):
    torch.manual_seed(0)
    scale = build("ncsnpp", **SMALL, skip_rescale=rescale).scale
    block = Block(64, 64, time=16, dropout=0.0, scale=scale, resample=resample)
    x = torch.randn(16, 64, 16, 16)
    size = x if resample is None else resample(x)
    block.conv2 = Answer(size)
    if resample is not None:
        block.shortcut = nn.Identity()
    y = block(x, torch.randn(16, 16))
    assert abs(float(y.var() / size.var()) - want) < 0.03


class Answer(nn.Module):
    """A residual branch that is as large as `like`, and independent of it."""

    def __init__(self, like):
        super().__init__()
        self.like = like

    def forward(self, _):
        return torch.randn_like(self.like) * self.like.std()


@pytest.mark.parametrize("embedding", ["fourier", "positional"])
@torch.no_grad()
def test_times_are_told_apart(embedding):
    network, x = awake(small(embedding=embedding)), torch.randn(1, 3, 8, 8)
    times = torch.tensor([0.01, 0.02, 1.0, 10.0, 10.5, 500.0, 501.0, 999.0])
    answers = network(x.expand(8, -1, -1, -1), times)
    for i in range(8):
        others = (answers - answers[i]).flatten(1).abs().amax(1)
        assert others[i] < 1e-5
        floor = 1e-5 if embedding == "positional" and times[i] < 0.1 else 1e-4
        assert others[torch.arange(8) != i].min() > floor
    assert torch.allclose(network(x, times[3:4].double()), answers[3:4], atol=1e-5)
    assert torch.allclose(network(x, torch.tensor([10])), answers[3:4], atol=1e-5)


def test_fourier_code_by_hand():
    network = small().double()
    w, t = network.temb.frequencies, torch.tensor([0.5, 40.0], dtype=torch.float64)
    angle = 2 * torch.pi * torch.log(t)[:, None] * w
    code = torch.cat([angle.sin(), angle.cos()], 1)
    first, second = network.temb.dense
    want = nn.functional.silu(second(nn.functional.silu(first(code))))
    assert torch.allclose(network.temb(t, like=t), want, rtol=0, atol=1e-12)
    assert w.shape == (32,)
    assert small(fourier_scale=1.0).temb.frequencies.std() * 16 == pytest.approx(w.std().item())


@torch.no_grad()
def test_time_zero_is_not_infinite():
    network, x = awake(small()), torch.randn(2, 3, 8, 8)
    assert network(x, torch.tensor([0])).isfinite().all()
    assert torch.equal(network(x, torch.tensor([0])), network(x, torch.tensor([1e-4])))


@torch.no_grad()
def test_frequencies_come_back_from_the_state_dict():
    network, x, t = awake(small()), torch.randn(2, 3, 8, 8), torch.tensor([5.0, 300.0])
    saved = network.state_dict()
    assert "temb.frequencies" in saved
    assert not any("kernel" in key for key in saved)  # it follows from the options
    torch.manual_seed(7)
    other = build("ncsnpp", **SMALL).eval()
    assert not torch.equal(other.temb.frequencies, network.temb.frequencies)
    other.load_state_dict(saved)
    assert torch.equal(other(x, t), network(x, t))
    saved.pop("temb.frequencies")
    with pytest.raises(RuntimeError, match=r"temb\.frequencies"):
        other.load_state_dict(saved)


def test_float64_in_float64_out():
    network, x = awake(small()), torch.randn(2, 3, 8, 8, dtype=torch.float64)
    t = torch.tensor([10.0, 600.0])
    with torch.no_grad():
        rough = network(x.float(), t)
        exact = network.double()(x, t)
    assert (rough.dtype, exact.dtype) == (torch.float32, torch.float64)
    assert (rough - exact).abs().max() < 1e-3 * exact.abs().max()


def test_gradients_agree_with_finite_differences():
    network = awake(small(image_size=4, attn_resolutions=[2], ch=4)).double().train()
    x = torch.randn(1, 3, 4, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: network(x, torch.tensor([7])), x, fast_mode=True)


def test_dropout_acts_in_training_only():
    network, x, t = awake(small(dropout=0.5)), torch.randn(2, 3, 8, 8), torch.tensor([5])
    assert torch.equal(network(x, t), network(x, t))
    network.train()
    assert not torch.equal(network(x, t), network(x, t))


def test_bfloat16_autocast_stays_close():
    network, x, t = awake(small()), torch.randn(2, 3, 8, 8), torch.tensor([50])
    want = network(x, t)
    with torch.autocast("cpu", torch.bfloat16):
        got = network(x, t)
    got.float().square().mean().backward()
    assert (got.float() - want).abs().max() < 0.1 * want.abs().max()


@pytest.mark.parametrize("last", [False, True])
@torch.no_grad()
def test_the_answer_has_the_layout_of_the_images_and_they_are_untouched(last):
    layout = torch.channels_last if last else torch.contiguous_format
    network, x = awake(small()), torch.randn(2, 3, 8, 8).contiguous(memory_format=layout)
    before = x.clone()
    y = network(x, torch.tensor([3]))
    assert y.stride() == x.stride()
    assert torch.equal(x, before)
    assert torch.allclose(network(x.contiguous(), torch.tensor([3])), y, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"fir": False, "embedding": "positional"}])
def test_compiles_as_one_graph(options):
    network = small(**options)
    explained = torch._dynamo.explain(network)(torch.randn(2, 3, 8, 8), torch.tensor([3, 4]))
    assert (explained.graph_count, explained.graph_break_count) == (1, 0)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"ch": 30}, "ch: 30 .*multiple of 4"),
        ({"ch": 36, "ch_mult": [1, 4]}, "ch: .*144 channels.* 32 groups; a multiple of 32"),
        ({"image_size": 30, "ch_mult": [1, 2, 2]}, "image_size: 30 .*divisible by 4.* fits"),
        ({"attn_resolutions": [5]}, r"attn_resolutions: \[5\].*\[8, 4\]"),
        ({"ch_mult": []}, r"ch_mult \[\] is not valid"),
        ({"dropout": 1.0}, "dropout 1 is not valid"),
        ({"num_res_blocks": 0}, "num_res_blocks 0 is not valid"),
        ({"fir_kernel": [1, 2, 1]}, r"fir_kernel: \[1, 2, 1\] .*even number"),
        ({"fir_kernel": []}, "fir_kernel"),
        ({"fir_kernel": [1, -1]}, "fir_kernel: .*sum above 0"),
        (
            {"embedding": "sines"},
            "embedding sines is not valid; it should be fourier or positional",
        ),
        ({"fourier_scale": 0.0}, "fourier_scale 0 is not valid; it should be a number above 0"),
        ({"progressive_input": "skip"}, "progressive_input skip .* it should be none or residual"),
    ],
)
def test_options_that_do_not_fit_are_named(options, says):
    with pytest.raises(ValueError, match=says) as caught:
        small(**options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("shape", "t", "label", "says"),
    [
        ((2, 3, 8, 7), [1], None, "8x7 pixels.*divisible by 2"),
        ((2, 1, 8, 8), [1], None, "in_channels"),
        ((3, 8, 8), [1], None, "states"),
        ((2, 3, 8, 8), [1, 2, 3], None, r"t has shape \(3,\)"),
        ((2, 3, 8, 8), [1], torch.tensor([0, 1]), "unconditional"),
    ],
)
def test_inputs_that_do_not_fit_are_named(shape, t, label, says):
    with pytest.raises(ValueError, match=says):
        small()(torch.randn(shape), torch.tensor(t), label)
