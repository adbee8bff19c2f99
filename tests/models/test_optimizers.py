"""Optimizers: PyTorch's own, bit for bit, and their ranges."""

import pytest
import torch
from torch import nn

from models import OPTIMIZERS

OPTIONS = {"beta1": 0.8, "beta2": 0.9, "eps": 1e-3, "weight_decay": 0.1, "amsgrad": True}


def trained(make):
    torch.manual_seed(0)
    network, x = nn.Linear(3, 4), torch.randn(8, 3)
    optimizer = make(network.parameters())
    for _ in range(3):
        optimizer.zero_grad()
        network(x).square().sum().backward()
        optimizer.step()
    return torch.cat([p.detach().flatten() for p in network.parameters()])


@pytest.mark.parametrize("options", [{}, OPTIONS])
@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("name", ["Adam", "AdamW"])
def test_weights_equal_those_of_pytorch(name, fused, options):
    theirs = {"weight_decay": 0.0, **options}
    theirs["betas"] = (theirs.pop("beta1", 0.9), theirs.pop("beta2", 0.999))
    kind = getattr(torch.optim, name)
    ours = trained(lambda p: OPTIMIZERS[name](p, 0.01, fused, **options))
    assert torch.equal(ours, trained(lambda p: kind(p, lr=0.01, fused=fused, **theirs)))


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        ("beta1", 1.0, "beta1 1 is not valid; it should be a number, at least 0 and below 1"),
        ("beta2", -0.1, "beta2 -0.1 is not valid"),
        ("eps", 0.0, "eps 0 is not valid; it should be a number above 0"),
        ("weight_decay", -1.0, "weight_decay -1 is not valid; it should be a number, at least 0"),
        ("amsgrad", 1, "amsgrad 1 is not valid; it should be true or false"),
    ],
)
def test_options_out_of_range_are_refused(name, option, value, says):
    with pytest.raises(ValueError, match=says):
        OPTIMIZERS[name](nn.Linear(2, 2).parameters(), 0.01, False, **{option: value})
