"""A fault ends a command at once, with one line and a true exit code, and nothing is lost."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import time
from pathlib import Path

import pytest

from main import main
from models import checkpoint
from tests.commands import TINY, command, start, wait_for


def said(output: str) -> None:
    assert output.count("error:") == 1 and "Traceback" not in output, output


@pytest.mark.slow
def test_full_disk_keeps_the_last_checkpoint(tmp_path: Path) -> None:
    words = [*TINY, "--exp", str(tmp_path), "--doc", "digits", "--training.snapshot_freq", "2"]
    assert main([*words, "--training.n_iters", "2"]) == 0
    run = tmp_path / "logs/digits"

    def small_disk() -> None:  # larger files fail as on a full disk; the signal would only kill
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))

    done = subprocess.run(
        command(*words, "--training.n_iters", "4", "--resume_training"),
        preexec_fn=small_disk,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1
    said(done.stderr)
    assert "ckpt_4.pth" in done.stderr
    assert checkpoint.steps(run) == [2] and not list(run.glob(".*tmp"))
    assert checkpoint.load(checkpoint.path_of(run, 2))["step"] == 2


@pytest.mark.parametrize("verb", ["train", "sample"])
def test_a_place_that_cannot_be_written(tmp_path: Path, capsys, verb: str) -> None:
    (tmp_path / "file").write_text("")
    if verb == "train":
        words = [*TINY, "--exp", str(tmp_path / "file"), "--doc", "digits"]
    else:
        assert main([*TINY, "--exp", str(tmp_path), "--doc", "d", "--training.n_iters", "1"]) == 0
        (tmp_path / "image_samples").write_text("")
        words = ["--exp", str(tmp_path), "--doc", "d", "--sample", "--images", "--device", "cpu"]
        words += ["--n_samples", "2", "--timesteps", "2"]
    capsys.readouterr()
    assert main(words) == 1
    said(capsys.readouterr().err)


@pytest.mark.slow
def test_a_killed_process_ends_the_others(tmp_path: Path) -> None:
    words = [*TINY, "--exp", str(tmp_path), "--doc", "digits", "--training.n_iters", "100000"]
    process = start(*words, processes=2)
    wait_for(tmp_path / "logs/digits/metrics.jsonl", process, lines=2)
    children = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(process.pid)], capture_output=True, text=True, check=True
    )
    began = time.monotonic()
    os.kill(int(children.stdout.split()[-1]), signal.SIGKILL)
    process.communicate(timeout=90)
    assert process.returncode != 0
    assert time.monotonic() - began < 60


def test_data_that_is_missing_says_what_to_put_where(tmp_path: Path, capsys) -> None:
    assert main(["--config", "cifar10.yml", "--exp", str(tmp_path), "--doc", "d", "--ni"]) == 1
    message = capsys.readouterr().err
    said(message)
    assert "cifar" in message and str(tmp_path / "datasets") in message
    assert not (tmp_path / "logs/d").exists()


def test_inception_that_is_missing_says_what_to_put_where(tmp_path: Path, capsys) -> None:
    words = ["--exp", str(tmp_path), "--doc", "d", "--device", "cpu"]
    assert main([*TINY, *words, "--training.n_iters", "1"]) == 0
    capsys.readouterr()
    more = ["--sample", "--fid", "--features", "inception", "--inception_weights", "nowhere.pth"]
    assert main([*words, *more]) == 1
    message = capsys.readouterr().err
    said(message)
    assert "nowhere.pth" in message
    assert not list((tmp_path / "image_samples").rglob("*.png"))


@pytest.mark.slow
def test_the_program_starts_where_a_package_named_datasets_is_installed(tmp_path: Path) -> None:
    package = tmp_path / "site/datasets"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise ImportError('the wrong datasets')")
    environment = {**os.environ, "PYTHONPATH": str(package.parent), "OMP_NUM_THREADS": "1"}
    words = [*TINY, "--exp", str(tmp_path), "--doc", "d", "--training.n_iters", "2"]
    done = subprocess.run(
        command(*words, processes=2),
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert checkpoint.steps(tmp_path / "logs/d") == [2]
