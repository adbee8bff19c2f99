"""A folder of images belongs to one recipe, and holds exactly the images that are wanted."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from configs.schema import ConfigError
from runners.record import image_folder
from tests.runners.test_recipe import NOW, OLD

IMAGES = torch.arange(12 * 3 * 4, dtype=torch.uint8).reshape(12, 1, 4, 3)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A claimed folder with images 0 to 11."""
    image_folder.claim(tmp_path / "images", NOW)
    writer = image_folder.Writer(tmp_path / "images")
    writer.add(range(12), IMAGES)
    writer.flush()
    writer.close()
    return tmp_path / "images"


def test_images_are_read_back(folder: Path) -> None:
    assert torch.equal(image_folder.read_back(folder, range(3, 9), (1, 4, 3)), IMAGES[3:9])
    assert image_folder.existing(folder, 5) == set(range(5))
    with pytest.raises(OSError, match="another program's image"):
        image_folder.read_back(folder, [0], (1, 4, 4))
    (folder / "0.png").write_bytes(b"no image")
    with pytest.raises(OSError, match="delete it and run again"):
        image_folder.read_back(folder, [0], (1, 4, 3))


def test_a_folder_is_entered_again_by_the_same_recipe_only(folder: Path, tmp_path: Path) -> None:
    before = (folder / "samples.json").read_bytes()
    image_folder.claim(folder, replace(NOW, source="moved.pth"))
    assert (folder / "samples.json").read_bytes() == before
    with pytest.raises(ConfigError, match=r"made otherwise \(seed 0, now 5\); name another"):
        image_folder.claim(folder, replace(NOW, seed=5))
    image_folder.claim(folder, replace(NOW, seed=5), overwrite=True)
    assert image_folder.existing(folder, 12) == set()
    (aside,) = tmp_path.glob("images.*")
    assert image_folder.existing(aside, 12) == set(range(12))


def test_a_folder_of_the_version_before_is_entered(folder: Path) -> None:
    marker = folder / "samples.json"
    marker.write_text(json.dumps(OLD))
    image_folder.claim(folder, NOW)
    assert json.loads(marker.read_text()) == OLD
    with pytest.raises(ConfigError, match="sampler ddim, now deis"):
        image_folder.claim(folder, replace(NOW, sampler={"name": "deis", "order": 1}))


def test_images_of_unknown_origin_are_refused(folder: Path) -> None:
    marker = folder / "samples.json"
    marker.write_text('{"picture": "grid"}')
    with pytest.raises(ConfigError, match=r"made otherwise \(samples.json: not a recipe"):
        image_folder.claim(folder, NOW)
    marker.write_text("{")
    with pytest.raises(OSError, match="not readable as JSON"):
        image_folder.claim(folder, NOW)
    marker.unlink()
    with pytest.raises(ConfigError, match="unknown origin"):
        image_folder.claim(folder, NOW)


def test_a_claim_is_undone_only_where_nothing_came_of_it(folder: Path, tmp_path: Path) -> None:
    for place, stays in ((folder, True), (tmp_path / "empty", False)):
        with pytest.raises(KeyboardInterrupt), image_folder.claimed(place, NOW):
            assert (place / "samples.json").exists()
            raise KeyboardInterrupt
        assert place.exists() is stays
    another = tmp_path / "another"
    image_folder.claim(another, NOW)
    with pytest.raises(ConfigError), image_folder.claimed(another, replace(NOW, seed=5)):
        pass
    assert (another / "samples.json").exists()  # another command may be at work there


def test_extra_images_wait_in_a_folder_of_their_own(folder: Path, caplog, monkeypatch) -> None:
    (folder / "sheet.png").write_bytes(b"")  # not one of the images
    monkeypatch.setattr(logging.getLogger("skip_step"), "propagate", True)
    monkeypatch.setattr(logging.getLogger("skip_step"), "handlers", [])  # of earlier commands
    with caplog.at_level(logging.INFO, "skip_step"):
        image_folder.keep_first(folder, 5)
        (line,) = set(caplog.messages)
        caplog.clear()
        image_folder.keep_first(folder, 5)
        assert not caplog.messages
    assert line.startswith("7 images beyond the 5 wanted moved to") and "extra" in line
    assert image_folder.existing(folder, 99) == set(range(5))
    assert image_folder.existing(folder / "extra", 99) == set(range(5, 12))
    image_folder.keep_first(folder, 9)
    assert image_folder.existing(folder, 99) == set(range(9))
    image_folder.keep_first(folder, 20)
    assert torch.equal(image_folder.read_back(folder, range(12), (1, 4, 3)), IMAGES)
    assert (folder / "sheet.png").exists()


def test_an_image_drawn_again_is_not_replaced(folder: Path) -> None:
    image_folder.keep_first(folder, 11)
    (folder / "11.png").write_bytes((folder / "0.png").read_bytes())
    image_folder.keep_first(folder, 12)
    assert (folder / "11.png").read_bytes() == (folder / "0.png").read_bytes()
    assert (folder / "extra/11.png").exists()
