"""Figures follow from the metrics that a config names and from what its extractor gives."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from configs.schema import Config, load
from datasets import get_dataset
from models.features import EXTRACTORS
from runners.machine.processes import Ranks
from runners.measure.meter import Meter

ALONE = Ranks(0, 1, torch.device("cpu"))
COUNT = 12


class Pixels:
    """The pixels as features; logits: the first ten of them, where they are wanted."""

    name, hash, dim = "pixels", "0" * 64, 64

    def __init__(self, logits: bool) -> None:
        self.logits = logits

    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        features = images.flatten(1).float()
        return features, features[:, 20:30] / 16 if self.logits else None


@pytest.fixture
def pixels():
    """Two feature extractors, with and without logits, registered for one test."""
    facts = {"title": "pixels", "paper": "", "needs_labels": False}

    @EXTRACTORS.part(**facts, gives_logits=True)
    def scored_pixels(dataset, cache, device):
        return Pixels(logits=True)

    @EXTRACTORS.part(**facts, gives_logits=False)
    def plain_pixels(dataset, cache, device):
        return Pixels(logits=False)

    yield
    del EXTRACTORS.parts["scored_pixels"], EXTRACTORS.parts["plain_pixels"]


def meter_of(features: str, tmp_path: Path, *overrides: tuple[str, str]) -> Meter:
    keys = [("evaluation.features", features), ("sampling.n_samples", str(COUNT)), *overrides]
    config: Config = load("digits.yml", keys)
    dataset, _ = get_dataset(config, tmp_path)
    meter = Meter(config, dataset, tmp_path, ALONE)
    images = dataset.images(range(COUNT))
    for part in (range(6, COUNT), range(6)):  # in any order
        meter.add(part, images[list(part)])
    return meter


NAMES = ["FD[pixels]", "KID[pixels]", "precision[pixels]", "recall[pixels]", "IS[pixels]"]


@pytest.mark.parametrize(("features", "count"), [("scored_pixels", 5), ("plain_pixels", 4)])
def test_every_metric_that_the_extractor_allows(
    pixels, tmp_path: Path, features: str, count: int
) -> None:
    names = ["distance", "kid", "precision", "recall", "is"]
    meter = meter_of(features, tmp_path, ("evaluation.metrics", json.dumps(names)))
    labels = meter.labels()
    assert list(labels) == names[:count]
    assert [*labels.values()] == [f"{name}-{COUNT}" for name in NAMES[:count]]
    figures = meter.figures()
    assert [name for name in figures if not name.endswith("_std")] == [*labels.values()]
    deviations = [f"KID[pixels]-{COUNT}_std", f"IS[pixels]-{COUNT}_std"]
    assert [n for n in figures if n.endswith("_std")] == deviations[: count - 3]
    assert meter.nearest(meter.first, 2)[3][0] == (3, 0.0)  # they are training images themselves
    assert [index for index, _ in meter.neighbours()] == list(range(8))


def test_the_metrics_that_a_config_names(pixels, tmp_path: Path) -> None:
    meter = meter_of("plain_pixels", tmp_path, ("evaluation.metrics", '["recall", "kid:3:5"]'))
    assert list(meter.labels()) == ["recall", "kid"]
    assert len(meter.figures()) == 3
    described = meter.described()
    assert (described["kid_subsets"], described["kid_subset_size"]) == (3, 5)
    assert described["extractor"] == "pixels" and described["images"] > 1000


def test_the_size_of_subsets_is_recorded_as_it_is(pixels, tmp_path: Path) -> None:
    described = meter_of("plain_pixels", tmp_path, ("evaluation.kid_subset_size", "99")).described()
    assert described["kid_subset_size"] == COUNT
    without = meter_of("plain_pixels", tmp_path, ("evaluation.metrics", '["recall"]'))
    assert "kid_subset_size" not in without.described()


def test_what_was_measured_is_forgotten(pixels, tmp_path: Path) -> None:
    meter = meter_of("plain_pixels", tmp_path)
    first = meter.figures()
    images = meter.dataset.images(range(COUNT))
    meter.add(range(COUNT), images)
    assert meter.figures() == first
