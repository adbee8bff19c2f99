"""The ADM network against numbers of guided-diffusion, and its odd options and input."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks

from models import build
from models.networks.adm_blocks import waves

GOLDEN = Path(__file__).parents[1] / "golden" / "models"
CONFIGS = json.loads((GOLDEN / "adm_configs.json").read_text())
SMALL = {
    **{"image_size": 8, "model_channels": 32, "channel_mult": (1, 2), "num_res_blocks": 1},
    **{"attention_resolutions": (2,), "num_head_channels": 16},
}


def golden(name, **options):
    arrays = np.load(GOLDEN / f"{name}.npz")
    network = build("adm", **{**CONFIGS[name]["options"], **options}).eval()
    weights = {k[3:]: torch.tensor(arrays[k]) for k in arrays.files if k.startswith("sd/")}
    network.load_state_dict(weights)
    return network, {k: torch.tensor(arrays[k]) for k in arrays.files if not k.startswith("sd/")}


def small(**options):
    """A small network whose layers that begin at zero are drawn at random too."""
    torch.manual_seed(0)
    network = build("adm", **{**SMALL, **options}).eval()
    for p in network.parameters():
        if not p.any():
            torch.nn.init.normal_(p, std=0.05)
    return network


CASES = [("adm_a", False, "out/y"), ("adm_b", False, "out/y_legacy_order")]
CASES += [("adm_b", True, "out/y_new_order")]


@pytest.mark.parametrize(("name", "new_order", "out"), CASES)
@torch.no_grad()
def test_outputs_of_guided_diffusion(name, new_order, out):
    network, z = golden(name, use_new_attention_order=new_order)
    x, t, want, label = z["in/x"], z["in/t"], z[out], z.get("in/y")
    assert sum(p.numel() for p in network.parameters()) == CONFIGS[name]["num_parameters"]
    assert (network(x, t, label) - want).abs().max() < 2e-5
    last = network.to(memory_format=torch.channels_last)
    assert (last(x.to(memory_format=torch.channels_last), t, label) - want).abs().max() < 2e-5
    exact = network.double()(x.double(), t, label)
    assert exact.dtype == torch.float64
    assert (exact - want).abs().max() < 2e-5


def test_time_embedding_of_guided_diffusion():
    _, z = golden("adm_a")
    assert (waves(z["in/t"], 32) - z["out/temb_sinusoidal"]).abs().max() < 1e-6


@pytest.mark.parametrize("name", ["ffhq128", "p2_default_256"])
def test_names_shapes_and_order_of_the_real_networks(name):
    with torch.device("meta"):
        network = build("adm", **CONFIGS[name]["options"])
    assert [[k, list(v.shape)] for k, v in network.state_dict().items()] == CONFIGS[name]["keys"]
    assert sum(p.numel() for p in network.parameters()) == CONFIGS[name]["num_parameters"]


def test_a_new_network_answers_zero_and_every_weight_learns():
    network = build("adm", **SMALL, use_scale_shift_norm=True, resblock_updown=True)
    x, t = torch.randn(2, 3, 8, 8), torch.tensor([3])
    assert network(x, t).count_nonzero() == 0
    still = {n for n, p in network.named_parameters() if not p.any()}
    ends = {n for n in still if n.endswith("weight")}
    assert ends == {
        n for n in ends if "out_layers.3" in n or "proj_out" in n or n == "out.2.weight"
    }
    drawn = small(use_scale_shift_norm=True, resblock_updown=True, num_classes=3)
    drawn(x, t, torch.tensor([0, 2])).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in drawn.parameters())


@pytest.mark.parametrize("updown", [False, True])
@pytest.mark.parametrize("shift", [False, True])
def test_gradients_agree_with_finite_differences(updown, shift):
    more = {"resblock_updown": updown, "use_scale_shift_norm": shift, "conv_resample": not shift}
    network = small(image_size=4, **more).double().train()
    x = torch.randn(1, 3, 4, 4, dtype=torch.float64, requires_grad=True)
    t = torch.tensor([7.5], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: network(x, t), x, fast_mode=True)


def kept(network, x, t):
    """Bytes that autograd keeps for the backward pass, and the gradients."""
    weights = {p.untyped_storage()._cdata for p in network.parameters()}
    found = {}

    def keep(tensor):
        storage = tensor.untyped_storage()
        if storage._cdata not in weights:
            found[storage._cdata] = tensor, storage.nbytes()
        return tensor

    torch.manual_seed(1)
    with saved_tensors_hooks(keep, lambda tensor: tensor):
        y = network(x, t)
    y.square().sum().backward()
    return sum(size for _, size in found.values()), y, [p.grad for p in network.parameters()]


def test_checkpointing_gives_equal_gradients_from_less_memory():
    x, t = torch.randn(4, 3, 8, 8), torch.tensor([5.0, 100.0, 400.0, 900.0])
    runs = [kept(small(use_checkpoint=c, dropout=0.3).train(), x, t) for c in (False, True)]
    (most, y, grads), (least, same, again) = runs
    assert least < most / 3
    assert torch.equal(y, same)
    assert all(torch.equal(a, b) for a, b in zip(grads, again, strict=True))
    assert any(g.any() for g in grads)


def test_dropout_acts_in_training_only():
    network, x, t = small(dropout=0.5), torch.randn(2, 3, 8, 8), torch.tensor([5])
    assert torch.equal(network(x, t), network(x, t))
    network.train()
    assert not torch.equal(network(x, t), network(x, t))


@torch.no_grad()
def test_times_and_labels_for_one_state_and_for_all():
    network, x = small(num_classes=4), torch.randn(3, 3, 8, 8)
    t, label = torch.tensor([10.0]), torch.tensor([2])
    want = network(x, t.expand(3), label.expand(3))
    for got in (
        network(x, t, label),
        network(x, t, label.expand(3)),
        network(x, t.expand(3), label),
    ):
        assert torch.allclose(got, want, atol=1e-5)
    assert not torch.allclose(network(x, t + 0.5, label), want, atol=1e-5)
    mixed = network(x, t, torch.tensor([2, 1, 2]))
    same = [torch.allclose(mixed[i], want[i], atol=1e-5) for i in range(3)]
    assert same == [True, False, True]


@pytest.mark.parametrize("last", [False, True])
def test_the_answer_has_the_layout_of_the_images_and_they_are_untouched(last):
    layout = torch.channels_last if last else torch.contiguous_format
    network, x = small(), torch.randn(2, 3, 8, 8).contiguous(memory_format=layout)
    before = x.clone()
    with torch.no_grad():
        y = network(x, torch.tensor([3]))
    assert y.stride() == x.stride()
    assert torch.equal(x, before)


def test_images_of_other_sides():
    assert small()(torch.randn(1, 3, 6, 12), torch.tensor([3])).shape == (1, 3, 6, 12)


def test_bfloat16_autocast_stays_close():
    network, x = small(use_scale_shift_norm=True), torch.randn(2, 3, 8, 8)
    want = network(x, torch.tensor([50]))
    with torch.autocast("cpu", torch.bfloat16):
        got = network(x, torch.tensor([50]))
    got.float().square().mean().backward()
    assert (got.float() - want).abs().max() < 0.05 * want.abs().max()


@pytest.mark.slow
def test_compiles_as_one_graph():
    network = small(resblock_updown=True, use_scale_shift_norm=True)
    explained = torch._dynamo.explain(network)(torch.randn(2, 3, 8, 8), torch.tensor([3, 4]))
    assert (explained.graph_count, explained.graph_break_count) == (1, 0)


def heads(network):
    return [getattr(m, "heads", None) for m in network.modules() if hasattr(m, "new_order")]


def test_heads_by_number_or_by_width():
    assert heads(small()) == [4, 4, 4, 4]  # down, middle, up, up
    assert heads(small(num_head_channels=-1)) == [1, 1, 1, 1]
    given = {"num_head_channels": -1, "num_heads": 2, "num_heads_upsample": 8}
    assert heads(small(**given)) == [2, 2, 8, 8]


def test_a_first_level_of_half_the_width():
    options = {"model_channels": 64, "channel_mult": [0.5, 1], "attention_resolutions": []}
    network = small(**options)
    assert network.input_blocks[0][0].out_channels == 32
    assert network(torch.randn(1, 3, 8, 8), torch.tensor([3])).shape == (1, 3, 8, 8)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"model_channels": 48}, "model_channels: 48 gives a level 48 channels; .* multiple of 32"),
        ({"channel_mult": [1, 0.5]}, "gives a level 16 channels"),
        ({"channel_mult": []}, r"channel_mult \[\] is not valid"),
        ({"image_size": 9}, "image_size: 9 must be divisible by 2, because the network has 2 lev"),
        (
            {"attention_resolutions": [2, 8]},
            r"attention_resolutions: \[8\] must be among .* \[1, 2\]; .* divided by its side",
        ),
        ({"num_head_channels": 48}, "num_head_channels: 48 does not divide the 64 channels"),
        ({"num_head_channels": -1, "num_heads": 3}, "num_heads: 3 does not divide the 64"),
        ({"num_head_channels": 0}, "it should be -1 or a whole number, at least 1"),
        ({"num_classes": 0}, "num_classes 0 is not valid"),
        ({"dropout": 1.0}, "dropout 1 is not valid"),
    ],
)
def test_options_that_do_not_fit_are_named(options, says):
    with pytest.raises(ValueError, match=says) as caught:
        small(**options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("option", ["use_fp16", "dims"])
def test_options_of_guided_diffusion_that_do_not_exist_here(option):
    with pytest.raises(TypeError, match=option):
        small(**{option: 2})


@pytest.mark.parametrize(
    ("shape", "t", "label", "says"),
    [
        ((2, 3, 8, 7), [1], [0], "channel_mult"),
        ((2, 1, 8, 8), [1], [0], "in_channels"),
        ((2, 3, 8, 8), [1, 2, 3], [0], r"t has shape \(3,\)"),
        ((2, 3, 8, 8), [1], None, r"num_classes: 4 needs a label, \(2,\) or \(1,\); there is none"),
        ((2, 3, 8, 8), [1], [0, 1, 2], r"its shape is \(3,\)"),
    ],
)
def test_inputs_that_do_not_fit_are_named(shape, t, label, says):
    label = None if label is None else torch.tensor(label)
    with pytest.raises(ValueError, match=says):
        small(num_classes=4)(torch.randn(shape), torch.tensor(t), label)


def test_a_label_for_a_network_without_classes():
    with pytest.raises(ValueError, match="unconditional"):
        small()(torch.randn(1, 3, 8, 8), torch.tensor([1]), torch.tensor([1]))
