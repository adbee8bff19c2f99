"""Mean losses by quartile of the training times, and the sums behind the reference statistics."""

from __future__ import annotations

import pytest
import torch

from functions.process import VP, VPSDE
from functions.times import TIMES
from runners.machine.processes import Ranks
from runners.measure.reference import Reference, same_size_distance
from runners.measure.window import BINS, Window

ALONE = Ranks(0, 1, torch.device("cpu"))


def test_losses_are_averaged_by_quartile_of_discrete_times() -> None:
    window = Window(VP(), ALONE)
    t = torch.arange(1000)
    window.add(t, (t // 250).float())
    window.add(torch.tensor([0, 999]), torch.tensor([10.0, 13.0]))
    found = window.report()
    assert found["loss"] == pytest.approx((1500 + 23) / 1002)
    expected = {1: 10 / 251, 2: 1.0, 3: 2.0, 4: (750 + 13) / 251}
    for quartile, value in expected.items():
        assert found[f"loss/t_quartile_{quartile}"] == pytest.approx(value)
    assert found["images_per_second"] > 0


def test_the_ends_of_continuous_times_belong_to_the_outer_quartiles() -> None:
    window = Window(VPSDE(), ALONE)
    low, high = VPSDE().t_train
    window.add(torch.tensor([low, high]), torch.tensor([1.0, 3.0]))
    found = window.report()
    assert found["loss/t_quartile_1"] == 1.0 and found["loss/t_quartile_4"] == 3.0
    assert "loss/t_quartile_2" not in found and found["loss"] == 2.0


def test_a_new_window_forgets() -> None:
    window = Window(VP(), ALONE)
    window.add(torch.tensor([5]), torch.tensor([100.0]))
    window.reset()
    window.add(torch.tensor([5]), torch.tensor([1.0]))
    assert window.report()["loss"] == 1.0


def test_losses_by_bin_are_told_once_and_with_their_density() -> None:
    window = Window(VP(), ALONE)
    t = torch.tensor([0, 24, 25, 999])
    window.add(t, torch.tensor([1.0, 2.0, 4.0, 8.0]))
    window.report()
    window.reset()  # of the log, which is another rhythm
    window.add(t[:1], torch.tensor([1.0]))
    found = window.by_time(None, torch.ones_like)
    assert found.keys() == {"loss", "count"} and len(found["loss"]) == len(found["count"]) == BINS
    assert {i: v for i, v in enumerate(found["loss"]) if v} == {0: 4.0, 1: 4.0, BINS - 1: 8.0}
    assert {i: v for i, v in enumerate(found["count"]) if v} == {0: 3, 1: 1, BINS - 1: 1}
    assert not any(window.by_time(None, torch.ones_like)["count"])
    known = torch.tensor([0.0, 24.0, 999.0]), torch.tensor([0.5, 0.25, 0.25])
    found = window.by_time(known, lambda t: t + 2)
    assert found["density"] == [0.75, *[0.0] * (BINS - 2), 0.25]
    assert found["weight"] == [14.0, *[0.0] * (BINS - 2), 1001.0]


@pytest.mark.parametrize("name", ["uniform", "antithetic"])
@pytest.mark.parametrize("process", [VP(), VPSDE()], ids=["vp", "vpsde"])
def test_even_times_have_an_even_density(name: str, process) -> None:
    density = TIMES[name](process).density()
    low, high = process.t_train
    assert density is not None and low <= density[0].min() and density[0].max() <= high
    assert float(density[1].sum()) == pytest.approx(1)
    bins = Window(process, ALONE).by_time(density, torch.ones_like)
    assert bins["density"] == pytest.approx([1 / BINS] * BINS) and bins["weight"] == [1.0] * BINS


def test_the_distance_of_real_images_is_unknown_where_too_few_are_kept() -> None:
    features = torch.randn(20, 2, dtype=torch.float64)
    reference = Reference(20, features.mean(0), features.T.cov(), features, 0.0)
    assert same_size_distance(reference, 20) is None
    assert (same_size_distance(reference, 10) or 0) > 0
