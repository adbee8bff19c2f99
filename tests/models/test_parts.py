"""Parts with weights: the facts that each of them states."""

import inspect

import pytest

from configs import papers
from models import EXTRACTORS, NETWORKS, OPTIMIZERS

PARTS = [p for r in (NETWORKS, EXTRACTORS, OPTIMIZERS) for p in r.parts.values()]


def test_names():
    assert list(NETWORKS) == ["adm", "ddpm", "dhariwal", "dit", "edm2", "ncsnpp", "song"]
    assert sorted(EXTRACTORS) == ["classifier", "inception"]
    assert list(OPTIMIZERS) == ["Adam", "AdamW"]


@pytest.mark.parametrize("part", PARTS, ids=str)
def test_every_part_states_its_facts(part):
    assert part.facts.title
    assert part.facts.paper == "" or part.facts.paper in papers.entries()
    assert all(p.default is not inspect.Parameter.empty for p in part.options.values())


@pytest.mark.parametrize("part", NETWORKS.parts.values(), ids=str)
def test_the_shape_of_a_network_is_made_of_its_options(part):
    assert set(part.facts.shape) <= set(part.options)
    told = {"augment"} if "augment_dim" in part.options else set()
    assert set(part.facts.shape.values()) == {"side", "channels", "answer", "classes"} | told


def test_options_of_the_extractors():
    assert not EXTRACTORS.parts["classifier"].options
    assert EXTRACTORS.parts["inception"].defaults == {"weights": None}
    assert [EXTRACTORS.parts[n].facts.needs_labels for n in ("inception", "classifier")] == [0, 1]
