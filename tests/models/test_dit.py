"""DiT: the published size and names, a block against plain sums, position table, odd input.

Names and shapes are those of the public DiT-XL/2 weights (2212.09748), on latents of 4 channels.
"""

import math

import pytest
import torch
from torch import nn

from models import build
from models.networks.dit import Block, positions

SMALL = {
    **{"image_size": 8, "patch_size": 2, "hidden_size": 24, "depth": 2, "num_heads": 3},
    **{"num_classes": 4, "in_channels": 3, "out_channels": 6},
}


def small(**options):
    torch.manual_seed(0)
    return build("dit", **{**SMALL, **options}).eval()


def awake(network):
    """Random weights everywhere: the gates begin closed, and the answer as zeros."""
    torch.manual_seed(1)
    for p in network.parameters():
        nn.init.normal_(p, std=0.3)
    return network


def given(n=2, dtype=torch.float32):
    torch.manual_seed(2)
    x, t = torch.randn(n, 3, 8, 8, dtype=dtype), torch.linspace(0, 900, n, dtype=dtype)
    return x, t, torch.arange(n) % 4


def test_size_and_names_of_the_published_network():
    latent = {"image_size": 32, "in_channels": 4, "out_channels": 8, "num_classes": 1001}
    with torch.device("meta"):
        network = build("dit", **latent, hidden_size=1152, depth=28, num_heads=16)
        little = build("dit")
    table = 256 * 1152
    assert sum(p.numel() for p in network.parameters()) == 675_129_632 - table
    assert sum(p.numel() for p in little.parameters()) == 32_471_436
    shapes = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    inside = {
        **{"attn.qkv": (3456, 1152), "attn.proj": (1152, 1152), "mlp.fc1": (4608, 1152)},
        **{"mlp.fc2": (1152, 4608), "adaLN_modulation.1": (6912, 1152)},
    }
    layers = {
        **{"x_embedder.proj": (1152, 4, 2, 2), "t_embedder.mlp.0": (1152, 256)},
        **{"t_embedder.mlp.2": (1152, 1152)},
        **{f"blocks.{i}.{key}": shape for i in range(28) for key, shape in inside.items()},
        **{"final_layer.linear": (32, 1152), "final_layer.adaLN_modulation.1": (2304, 1152)},
    }
    want = {"pos_embed": (1, 256, 1152), "y_embedder.embedding_table.weight": (1001, 1152)}
    for key, shape in layers.items():
        want |= {f"{key}.weight": shape, f"{key}.bias": shape[:1]}
    assert shapes == want
    assert len(shapes) == 292


def test_the_position_table_is_sines_and_cosines_of_column_and_row():
    table = positions(3, 5, 8)
    assert table.shape == (1, 15, 8)
    row, column = 2, 4
    halves = [
        f(place * 10000 ** (-i / 2))
        for place in (column, row)
        for f in (math.sin, math.cos)
        for i in range(2)
    ]
    assert table[0, row * 5 + column].tolist() == pytest.approx(halves, abs=1e-12)
    assert torch.equal(small().pos_embed, positions(4, 4, 24).float())


@torch.no_grad()
def test_the_inside_of_a_block():
    block = awake(Block(6, 2, 10)).double()
    h, told = torch.randn(2, 5, 6).double(), torch.randn(2, 6).double()
    rows = block.adaLN_modulation[1](told)
    shift, scale, gate, shift2, scale2, gate2 = (rows[:, None, 6 * i : 6 * i + 6] for i in range(6))

    def norm(h):
        return (h - h.mean(2, keepdim=True)) / (h.var(2, False, keepdim=True) + 1e-6).sqrt()

    dense = block.attn["qkv"](norm(h) * (1 + scale) + shift)
    q, k, v = (dense[:, :, 6 * i : 6 * i + 6] for i in range(3))
    heads = []
    for head in (slice(0, 3), slice(3, 6)):
        share = (q[..., head] @ k[..., head].transpose(1, 2) / 3**0.5).softmax(2)
        heads.append(share @ v[..., head])
    want = h + gate * block.attn["proj"](torch.cat(heads, 2))
    inner = block.mlp["fc1"](norm(want) * (1 + scale2) + shift2)
    inner = inner / 2 * (1 + torch.tanh((2 / math.pi) ** 0.5 * (inner + 0.044715 * inner**3)))
    want = want + gate2 * block.mlp["fc2"](inner)
    assert torch.allclose(block(h, told), want, rtol=0, atol=1e-10)


@torch.no_grad()
def test_a_patch_goes_in_and_out_at_its_place():
    network = awake(small(depth=1))
    for p in network.blocks.parameters():
        nn.init.zeros_(p)  # closed gates: no token sees another
    x, t, label = given(1)
    moved = x.clone()
    moved[:, 1, 2:4, 6:8] += 1
    changed = (network(moved, t, label) != network(x, t, label)).any(1)[0]
    want = torch.zeros(8, 8, dtype=torch.bool)
    want[2:4, 6:8] = True
    assert torch.equal(changed, want)
    # rows of the last layer: rows of a patch, its columns, channels
    network.final_layer.linear.weight.zero_()
    network.final_layer.linear.bias.copy_(torch.arange(24.0))
    patch = network(x, t, label)[0, :, 4:6, 4:6]
    assert torch.equal(patch, torch.arange(24.0).view(2, 2, 6).permute(2, 0, 1))


@torch.no_grad()
def test_images_of_a_batch_do_not_meet_and_conditions_act():
    network, (x, t, label) = awake(small()).double(), given(3, torch.float64)
    whole = network(x, t, label)
    for i in range(3):
        one = network(x[i : i + 1], t[i : i + 1], label[i : i + 1])
        assert torch.allclose(one, whole[i : i + 1], atol=1e-10)
    assert (network(x, t + 5, label) - whole).abs().amax((1, 2, 3)).min() > 1e-2
    assert (network(x, t, label + 1) - whole).abs().amax((1, 2, 3)).min() > 1e-2


def test_every_weight_learns_and_the_first_answer_is_zero():
    network = small().train()
    assert not network(*given()).any()
    awake(network)(*given(4)).square().mean().backward()
    idle = [key for key, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert not idle
    torch.manual_seed(0)
    wide = build("dit", depth=1, num_classes=50)
    for weight in (wide.t_embedder["mlp"][0].weight, wide.y_embedder["embedding_table"].weight):
        assert weight.std().item() == pytest.approx(0.02, rel=0.03)
    assert wide.blocks[0].mlp["fc1"].weight.std().item() == pytest.approx(
        (2 / (384 + 1536)) ** 0.5, rel=0.02
    )


@torch.no_grad()
def test_other_sides_have_their_own_positions():
    network, t, label = awake(small()), torch.tensor([7.0]), torch.tensor([1])
    larger, x = small(image_size=12), torch.randn(1, 3, 12, 12)
    weights = network.state_dict()
    larger.load_state_dict({**weights, "pos_embed": larger.pos_embed})
    assert torch.allclose(network(x, t, label), larger(x, t, label), atol=1e-5)
    assert network(x[:, :, :4], t, label).shape == (1, 6, 4, 12)


def test_float64_and_bfloat16():
    network, conditions = awake(small()), given()
    want = network(*conditions)
    with torch.autocast("cpu", torch.bfloat16):
        got = network(*conditions)
    got.float().square().mean().backward()
    assert (got.float() - want).abs().max() < 0.1 * want.abs().max()
    x, t, label = conditions
    exact = network.double()(x.double(), t.double(), label)
    assert exact.dtype == torch.float64
    assert (exact - want).abs().max() < 1e-3 * want.abs().max()


@pytest.mark.slow
def test_compiles_as_one_graph():
    explained = torch._dynamo.explain(small())(*given())
    assert (explained.graph_count, explained.graph_break_count) == (1, 0)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"patch_size": 3}, "patch_size: 3 does not divide image_size, 8"),
        ({"num_heads": 5}, "num_heads: 5 does not divide hidden_size, 24"),
        ({"hidden_size": 6, "num_heads": 3}, "hidden_size: 6 must be a multiple of 4"),
        ({"mlp_ratio": 0.0}, "mlp_ratio 0 is not valid; it should be a number above 0"),
        ({"depth": 0}, "depth 0 is not valid"),
    ],
)
def test_options_that_do_not_fit_are_named(options, says):
    with pytest.raises(ValueError, match=says) as caught:
        small(**options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("x", "t", "label", "says"),
    [
        (
            torch.zeros(2, 3, 8, 7),
            torch.zeros(1),
            torch.tensor([0, 1]),
            "8x7 pixels.*patch_size, 2",
        ),
        (torch.zeros(2, 1, 8, 8), torch.zeros(1), torch.tensor([0, 1]), "in_channels"),
        (torch.zeros(2, 3, 8, 8), torch.zeros(3), torch.tensor([0, 1]), r"t has shape \(3,\)"),
        (torch.zeros(2, 3, 8, 8), torch.zeros(1), None, "4 classes; it needs labels"),
    ],
)
def test_inputs_that_do_not_fit_are_named(x, t, label, says):
    with pytest.raises(ValueError, match=says):
        small()(x, t, label)
