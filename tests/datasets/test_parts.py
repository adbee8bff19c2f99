"""Data sources: the facts that each of them states, and abstract data sets."""

import pytest

from configs import papers
from datasets import SOURCES, ImageDataset
from datasets.sources import find_splits
from tests.images import config, tree, write_folder

PARTS = list(SOURCES.parts.values())
ONE_SHAPE = {"DIGITS": (8, 1), "CIFAR10": (32, 3), "MNIST": (28, 1), "FASHIONMNIST": (28, 1)}


def test_names():
    others = ["CELEBA", "LSUN", "FFHQ", "FLOWERS", "FOLDER"]
    assert sorted(SOURCES) == sorted([*ONE_SHAPE, *others])
    assert sorted(SOURCES) == [name.upper() for name in sorted(SOURCES)]


@pytest.mark.parametrize("part", PARTS, ids=str)
def test_every_part_states_its_facts(part):
    facts = part.facts
    assert facts.title
    assert facts.paper == "" or facts.paper in papers.entries()
    assert facts.labels in ("yes", "no", "where there are sub-folders")
    shape = (facts.size, facts.channels)
    assert shape == ONE_SHAPE.get(part.name, (None, None if part.name == "FOLDER" else 3))
    assert list(part.options) == (["category"] if part.name == "LSUN" else [])
    assert part.place.startswith("datasets/sources/")


def test_published_weights_by_category():
    published = {p.name: list(p.facts.published) for p in PARTS if p.facts.published}
    assert published == {"CIFAR10": [""], "LSUN": ["bedroom", "church_outdoor"]}


def test_a_name_is_found_as_it_is_written_or_in_upper_case(tmp_path, monkeypatch):
    split, _ = find_splits(config(dataset="digits"), tmp_path)
    assert len(split.reader) == 1797
    monkeypatch.setitem(SOURCES.parts, "mine", SOURCES.parts["FOLDER"])
    write_folder(tmp_path / "mine", tree(["a.png"]))
    assert len(find_splits(config(dataset="mine"), tmp_path)[0].reader) == 1


def test_an_unfinished_data_set_cannot_be_made():
    class Unfinished(ImageDataset):
        def __len__(self):
            return 0

    with pytest.raises(TypeError, match=r"abstract methods '?fingerprint'?, '?images"):
        Unfinished("mine", (1, 8, 8), None, None, True)
