"""Averages of any length after the training: the command line, its files and its refusals."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from main import main
from models import checkpoint, snapshots
from tests.commands import TINY

POWERS = ["--model.ema_powers", "[0.05,0.1]", "--training.ema_snapshot_freq", "3"]


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 8 steps with snapshots at 3, 6 and 8. Nothing may write here."""
    folder = tmp_path_factory.mktemp("stored")
    words = [*TINY, *POWERS, "--exp", str(folder), "--training.n_iters", "8"]
    assert main([*words, "--doc", "powers", "--training.keep_last", "1"]) == 0
    assert main([*words[: len(TINY)], *words[-4:], "--doc", "plain"]) == 0
    return folder


@pytest.fixture
def exp(stored: Path, tmp_path: Path) -> Path:
    shutil.copytree(stored, tmp_path / "exp")
    return tmp_path / "exp"


def draw(exp: Path, *words: str, doc: str = "powers", folder: str = "x") -> int:
    words = ("--exp", str(exp), "--doc", doc, "--ni", "--device", "cpu", "-i", folder, *words)
    return main(["--sample", "--images", "--n_samples", "2", "--timesteps", "2", *words])


def recipe(exp: Path, folder: str = "x") -> dict:
    return json.loads((exp / "image_samples" / folder / "samples.json").read_text())


def test_snapshots_stay_and_hold_what_the_checkpoint_has(stored: Path) -> None:
    run = stored / "logs/powers"
    assert checkpoint.steps(run) == [8] and snapshots.steps(run) == [3, 6, 8]
    state, last = checkpoint.load(run / "ckpt_8.pth"), checkpoint.load(run / "ema_8.pth")
    assert last["lengths"] == [0.05, 0.1] and last["config"] == state["config"]
    for one, other in zip(last["averages"], state["powers"]["averages"], strict=True):
        assert all(torch.equal(one[name], other[name]) for name in other)
    assert set(last["rest"]) | set(last["averages"][0]) == set(state["network"])


def test_a_length_is_a_recipe_of_its_own(exp: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert draw(exp, "--ema_length", "0.07") == 0
    assert "ema length 0.07: made of 3 snapshots" in capsys.readouterr().err
    first = recipe(exp)["recipe"]
    assert (first["average"], first["training_step"]) == ("ema length 0.07", 8)
    assert draw(exp, "--ema_length", "0.06") == 2
    assert "average ema length 0.07, now ema length 0.06" in capsys.readouterr().err
    assert draw(exp, "--ema_length", "0.1", "--sampling.ckpt_id", "6", folder="y") == 0
    second = recipe(exp, "y")["recipe"]
    assert second["training_step"] == 6 and second["weights"] != first["weights"]
    kept = checkpoint.load(exp / "logs/powers/ema_6.pth")
    whole = {**kept["rest"], **kept["averages"][1]}
    assert second["weights"] == checkpoint.weights_hash(whole)  # bit for bit what was stored


@pytest.mark.parametrize(
    ("words", "doc", "line"),
    [
        (["--ema_length", "0.05"], "plain", "holds no snapshots ema_STEP.pth; they are stored by"),
        (["--ema_length", "0.004"], "powers", "0.004 is out of reach: the snapshots of"),
        (["--ema_length", "0.3"], "powers", "a number above 0 and at most 0.25"),
        (
            ["--ema_length", "0.05", "--sampling.ckpt_id", "5"],
            "powers",
            "ema_5.pth; the nearest snapshot is that of step 6",
        ),
        (
            ["--ema_length", "0.05", "--sampling.ema", "0.9"],
            "powers",
            "0.05 and ema 0.9 exclude each other; give one",
        ),
        (
            ["--ema_length", "0.05", "--config", "digits.yml", "--use_pretrained", "x"],
            "powers",
            "--ema_length 0.05 has no effect on foreign weights",
        ),
    ],
)
def test_what_cannot_be_is_one_line(
    exp: Path, words: list[str], doc: str, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert draw(exp, *words, doc=doc) == 2
    told = capsys.readouterr().err
    assert line in told and told.count("\n") <= 2 and "Traceback" not in told
    assert not (exp / "image_samples").exists()


def test_a_damaged_snapshot_stops_the_command(exp: Path, capsys) -> None:
    path = exp / "logs/powers/ema_3.pth"
    path.write_bytes(path.read_bytes()[:-40])
    assert draw(exp, "--ema_length", "0.07") == 1
    assert "ema_3.pth: damaged" in capsys.readouterr().err


@pytest.mark.slow
def test_snapshots_of_a_resumed_run_are_those_of_the_whole_one(
    stored: Path, tmp_path: Path
) -> None:
    words = [*TINY, *POWERS, "--exp", str(tmp_path), "--doc", "powers", "--training.n_iters"]
    assert main([*words, "5"]) == 0
    assert main([*words, "8", "--resume_training"]) == 0
    for step in (3, 6, 8):
        one, two = (
            checkpoint.load(root / f"logs/powers/ema_{step}.pth") for root in (stored, tmp_path)
        )
        for a, b in zip(one["averages"], two["averages"], strict=True):
            assert all(torch.equal(a[name], b[name]) for name in a)


def test_the_held_out_loss_and_the_dry_run_know_them(exp: Path, capsys) -> None:
    words = ["--exp", str(exp), "--doc", "powers", "--ni"]
    assert main([*words, "--test", "--ema_length", "0.07", "--likelihood", "none"]) == 0
    losses = json.loads((exp / "logs/powers/test-8.json").read_text())["losses"]
    assert list(losses) == ["ema length 0.07"]
    assert np.isfinite(losses["ema length 0.07"]["loss"])
    capsys.readouterr()
    assert main([*words, "--dry_run"]) == 0
    assert "EMA snapshots     3 of " in capsys.readouterr().out
