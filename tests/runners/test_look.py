"""Looking before running: lists of parts, remarks of a dry run, plans."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import runners.picture  # noqa: F401  (registers its parts)
from configs.parts import KINDS
from main import main
from runners.look.list_parts import list_parts, list_samplers


def described(capsys, *words: str) -> str:
    """What a dry run says below the config."""
    assert main(["--dry_run", "--config", "cifar10.yml", *words]) == 0
    return capsys.readouterr().out.partition("\n\n")[2]


def folder(path: Path, count: int, colour: tuple[int, ...] = ()) -> list[str]:
    """Flags of a folder of grey images stored in RGB; those of the given indices have a colour."""
    path.mkdir()
    for i in range(count):
        pixels = np.full((8, 8, 3), i, dtype=np.uint8)
        pixels[0, 0, 0] += i in colour
        Image.fromarray(pixels).save(path / f"{i:03}.png")
    return ["--data.dataset", "FOLDER", "--data.path", str(path), "--data.image_size", "32"]


@pytest.mark.slow
def test_a_dry_run_remarks_grey_images_and_endless_training(capsys, tmp_path: Path) -> None:
    grey = [*folder(tmp_path / "grey", 60), "--data.holdout", "0"]
    text = described(capsys, *grey)
    assert "60 images as 3x32x32, none held out" in text
    assert "note: the first 60 images are grey: --data.channels 1 trains on one channel" in text
    assert "1,706,666.7 epochs" in text
    assert "every image is seen 1,706,667 times; --training.n_iters sets the length" in text
    text = described(capsys, *grey, "--training.n_epochs", "20000")
    assert "seen 20,000 times; --training.n_epochs sets" in text
    text = described(capsys, *grey, "--data.channels", "1", "--training.n_iters", "1000")
    assert "60 images as 1x32x32" in text and "note:" not in text


@pytest.mark.slow
@pytest.mark.parametrize("coloured", [(0,), (99,)])
def test_one_image_in_colour_among_the_first_hundred_is_enough(capsys, tmp_path, coloured) -> None:
    words = folder(tmp_path / "some", 110, coloured)
    assert "grey" not in described(capsys, *words, "--data.holdout", "0")


@pytest.mark.slow
def test_images_after_the_first_hundred_are_not_looked_at(capsys, tmp_path: Path) -> None:
    words = folder(tmp_path / "late", 110, (105,))
    assert "the first 100 images are grey" in described(capsys, *words, "--data.holdout", "0")


@pytest.mark.slow
def test_a_dry_run_names_an_image_that_cannot_be_read(capsys, tmp_path: Path) -> None:
    words = [*folder(tmp_path / "bad", 3), "--data.holdout", "0"]
    (tmp_path / "bad/001.png").write_bytes(b"no picture")
    text = described(capsys, *words)
    assert "bad/001.png cannot be read (cannot identify image file" in text
    assert "--check_data names every such file" in text and "grey" not in text


def test_the_list_of_parts_mentions_every_part_option_and_paper() -> None:
    lines = list(list_parts())
    text = "\n".join(lines).strip()
    sections = {block.split("\n")[0]: block for block in text.split("\n\n")}
    assert len(KINDS) >= 13
    for kind, registry in KINDS.items():
        (block,) = (b for head, b in sections.items() if head.strip().split(" (")[0] == kind)
        for name, part in registry.parts.items():
            assert f"\n{name} " in block and part.facts.title in block
            own = block.partition(f"\n{name} ")[2]
            flag = getattr(part.facts, "flag", None)
            assert all(name if key == flag else key in own for key in part.options), part
            for alias in part.facts.aliases:
                assert f"\n{alias} " in block
            if part.facts.paper:
                assert f"\n{part.facts.paper}  " in text
    assert "--show=both (x, x0 or both)" in text and "--grid (text)" in text
    assert "label: KID  lower is better  unit: squared distance" in text
    assert sum(len(line) > 80 for line in lines) < 0.1 * len(lines)


def test_the_list_of_samplers_says_order_and_evaluations() -> None:
    lines = list(list_samplers())
    at = lines.index(next(line for line in lines if line.startswith("deis ")))
    assert "2204.13902" in lines[at] and lines[at + 1] == "    order: order + 1  NFE: S"
    assert ":order=3 (a whole number from 0 to 3)  :variable=t (t, rho or lambda)" in lines[at + 2]
    assert any(line.startswith("rk45 ") for line in lines)
    assert any(line.endswith("another name of ddpm:large") for line in lines)
    assert any(line.startswith("karras ") for line in lines)
