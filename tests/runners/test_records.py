"""Files and folders of runs: whole or absent, moved aside instead of overwritten."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from configs.command.locate import require_run
from configs.schema import ConfigError, load
from configs.schema.sections import Import
from runners.record import files, image_files, run_folder
from runners.train import resume


def test_text_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "new/a.json"
    files.write_text(path, "é")
    assert path.read_text(encoding="utf-8") == "é"
    with pytest.raises(UnicodeEncodeError):
        files.write_text(path, "\ud800")
    assert path.read_text(encoding="utf-8") == "é"
    assert [p.name for p in path.parent.iterdir()] == ["a.json"]


def test_nothing_is_overwritten_by_moving_aside(tmp_path: Path) -> None:
    for text in ("one", "two", "three"):
        (tmp_path / "a.json").write_text(text)
        files.move_aside(tmp_path / "a.json")
    assert sorted(p.read_text() for p in tmp_path.glob("a.json.*")) == ["one", "three", "two"]


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_images_come_back_from_their_files(tmp_path: Path, channels: int) -> None:
    image = torch.randint(0, 256, (channels, 5, 7), dtype=torch.uint8)
    image_files.save(image_files.to_picture(image), tmp_path / "new/a.png")
    with Image.open(tmp_path / "new/a.png") as picture:
        assert torch.equal(image_files.pixels(picture), image)
    assert len(list((tmp_path / "new").iterdir())) == 1


def test_five_channels_are_no_picture() -> None:
    with pytest.raises(ValueError, match="1 to 4 channels"):
        image_files.to_picture(torch.zeros(5, 2, 2, dtype=torch.uint8))


def test_the_nearest_run_is_named(tmp_path: Path) -> None:
    (tmp_path / "digits").mkdir()
    (tmp_path / "file").write_text("")
    assert require_run(tmp_path / "digits") == tmp_path / "digits"
    with pytest.raises(ConfigError, match="did you mean digits"):
        require_run(tmp_path / "digit")
    with pytest.raises(ConfigError, match="runs there: digits$"):
        require_run(tmp_path / "zzz")
    with pytest.raises(ConfigError, match="runs there: none"):
        require_run(tmp_path / "nowhere/zzz")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("optim.lr", "0.5", "optim.lr was 0.002, now 0.5"),
        ("seed", "9", "seed was 1234, now 9"),
        ("training.n_iters", "9", None),
        ("training.micro_batch", "4", None),
        ("data.num_workers", "3", None),
        ("sampling.timesteps", "3", None),
        ("evaluation.batch_size", "3", None),
        ("comment", "new", None),
    ],
)
def test_a_run_is_resumed_by_what_learns_the_same(key: str, value: str, told: str | None) -> None:
    begun = load("digits.yml", [("optim.lr", "0.002")])
    config = load("digits.yml", [("optim.lr", "0.002"), (key, value)])
    if told is None:
        return run_folder.check_same_run(begun, config, Path("run"))
    with pytest.raises(ConfigError) as caught:
        run_folder.check_same_run(begun, config, Path("run"))
    assert told in str(caught.value) and "--resume_training" in str(caught.value)
    return None


def test_a_run_is_resumed_though_an_imported_file_has_changed() -> None:
    begun, config = (
        load("digits.yml").model_copy(update={"imports": (Import(file="p.py", sha256=c * 64),)})
        for c in "ab"
    )
    run_folder.check_same_run(begun, config, Path("run"))


@pytest.mark.parametrize(
    ("typed", "answer"), [("r\n", "resume"), ("O\n", "overwrite"), ("q\n", "quit"), ("", "quit")]
)
def test_a_person_is_asked(tmp_path: Path, monkeypatch, typed: str, answer: str) -> None:
    from configs.command.options import Options

    class Terminal:
        isatty = staticmethod(lambda: True)
        readline = staticmethod(lambda: typed)

    monkeypatch.setattr(run_folder.sys, "stdin", Terminal)
    monkeypatch.delenv("RANK", raising=False)
    options = Options(exp=tmp_path, doc="a")
    assert resume.choose(options) == "new"
    options.run.mkdir(parents=True)
    if answer == "quit":
        with pytest.raises(ConfigError, match="--resume_training.*--overwrite"):
            resume.choose(options)
    else:
        assert resume.choose(options) == answer
    assert not run_folder.may_ask(ni=True)
    monkeypatch.setenv("RANK", "0")
    assert not run_folder.may_ask(ni=False)
