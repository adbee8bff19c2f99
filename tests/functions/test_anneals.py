"""Learning-rate anneals at points that the formulas give by hand."""

import math

import pytest

from configs.schema import specs
from functions.anneals import ANNEALS


@pytest.mark.parametrize(
    ("name", "options", "images", "factor"),
    [
        ("linear", {}, 0, 1.0),
        ("linear", {}, 250, 0.75),
        ("linear", {}, 1000, 0.0),
        ("linear", {}, 1001, 0.0),
        ("cosine", {}, 0, 1.0),
        ("cosine", {}, 250, 0.5 + math.sqrt(0.125)),
        ("cosine", {}, 500, 0.5),
        ("cosine", {}, 1000, 0.0),
        ("cosine", {}, 1500, 0.0),
        ("inverse_sqrt", {"ref": 100}, 0, 1.0),
        ("inverse_sqrt", {"ref": 100}, 100, 1.0),
        ("inverse_sqrt", {"ref": 100}, 400, 0.5),
        ("inverse_sqrt", {"ref": 100}, 1000, math.sqrt(0.1)),
    ],
)
def test_values(name, options, images, factor):
    assert ANNEALS[name](images, 1000, **options) == pytest.approx(factor, abs=1e-15)


@pytest.mark.parametrize("text", ["linear", "cosine"])
def test_a_training_without_end_is_never_annealed(text):
    spec = specs.anneal(text)
    assert spec.part.facts.to_the_end and spec.build(10**9, math.inf) == 1.0


def test_a_reference_may_have_a_suffix():
    assert specs.anneal("inverse_sqrt:1.5k").options == {"ref": 1500}
    assert specs.anneal("inverse_sqrt:ref=2M").options == {"ref": 2_000_000}
    assert specs.anneal("none") is None
