"""A resumed run is the uninterrupted run: zero tolerance on a CPU."""

from __future__ import annotations

import functools
import json
import math
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torchvision.utils import save_image as write_image

from main import main
from models import checkpoint
from tests.commands import TINY, run, start, wait_for

LAST = 9
WORKER = ("--data.num_workers", "1", "--data.in_memory", "false")


def save_image(image: Tensor, path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    write_image(image, path)


def flat(value, name: str = "") -> dict[str, object]:
    """A nested checkpoint as {path: leaf}."""
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list | tuple):
        items = enumerate(value)
    else:
        return {name: value}
    return {k: v for key, inner in items for k, v in flat(inner, f"{name}/{key}").items()}


def same(first: Path, second: Path, step: int = LAST) -> None:
    a, b = (flat(checkpoint.load(checkpoint.path_of(run, step))) for run in (first, second))
    kept = ("/network", "/ema", "/powers", "/optimizer", "/step", "/times")
    ours = {k for k in a if k.startswith(kept)}
    assert len(ours) > 20
    assert ours == {k for k in b if k.startswith(kept)}
    for key in ours:
        if isinstance(a[key], Tensor):
            assert torch.equal(a[key], b[key]), key
        else:
            assert a[key] == b[key], key


def train(exp: Path, doc: str, steps: int, *more: str, processes: int = 1) -> None:
    words = [*TINY, "--exp", str(exp), "--doc", doc, "--training.n_iters", str(steps), *more]
    if processes == 1:
        assert main(words) == 0
    else:
        code, output = run(*words, processes=processes)
        assert code == 0, output


CASES = {
    "plain": [],
    "accumulated": ["--training.micro_batch", "4", "--training.grad_accum", "2"],
    "annealed": [
        *("--optim.anneal", "inverse_sqrt:30"),
        *("--model.ema_rate", "null", "--model.ema_half_life", "20"),
    ],
    "edm": [
        *("--model.ema_warmup", "false", "--model.ema_rampup", "0.05"),
        *("--model.ema_powers", "[0.05,0.1]"),
    ],
    "workers": ["--data.num_workers", "2", "--data.in_memory", "false"],
    "bf16": ["--training.precision", "bf16", "--training.channels_last", "true"],
    "cld": ["--config", "digits_cld.yml"],
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_resuming_changes_nothing(tmp_path: Path, name: str) -> None:
    more = CASES[name]
    train(tmp_path, "whole", LAST, *more)
    stop = int(torch.randint(1, LAST, ()))
    train(tmp_path, "parts", stop, *more)
    train(tmp_path, "parts", LAST, "--resume_training", *more)
    same(tmp_path / "logs/whole", tmp_path / "logs/parts")


@pytest.mark.slow
def test_resuming_an_anneal_to_the_end_changes_nothing_and_its_length_is_fixed(
    tmp_path: Path, capsys
) -> None:
    words = ["--training.grad_accum", "2", "--optim.anneal", "cosine"]
    train(tmp_path, "whole", LAST, *words, "--training.snapshot_freq", "4")
    shutil.copytree(tmp_path / "logs/whole", tmp_path / "logs/parts")
    for step in (8, LAST):
        checkpoint.path_of(tmp_path / "logs/parts", step).unlink()
    train(tmp_path, "parts", LAST, *words, "--resume_training")
    same(tmp_path / "logs/whole", tmp_path / "logs/parts")
    lines = (tmp_path / "logs/parts/metrics.jsonl").read_text().splitlines()
    records = [record for record in map(json.loads, lines) if "loss" in record]
    assert [record["images"] for record in records] == [24 * step for step in range(1, LAST + 1)]
    seconds = [record["seconds"] for record in records]
    assert seconds == sorted(seconds) and seconds[0] > 0
    rates = [record["lr"] / 2e-3 for record in records]
    cosine = [0.5 + 0.5 * math.cos(math.pi * step / LAST) for step in range(LAST)]
    assert rates == pytest.approx([c * min(1, (k + 1) / 3) for k, c in enumerate(cosine)])
    longer = [*TINY, "--exp", str(tmp_path), "--doc", "parts", *words, "--resume_training"]
    assert main([*longer, "--training.n_iters", "20"]) == 2
    assert "training.n_iters was 9, now 20" in capsys.readouterr().err


def test_a_run_from_before_a_key_existed_goes_on(tmp_path: Path) -> None:
    """A key that neither its config nor its checkpoint has means the default."""
    train(tmp_path, "old", 2)
    run_folder = tmp_path / "logs/old"
    config = run_folder / "config.yml"
    text = config.read_text()
    assert "  mixed_score: none\n" in text
    config.write_text(text.replace("  mixed_score: none\n", ""))
    path = checkpoint.path_of(run_folder, 2)
    state = checkpoint.load(path)
    del state["config"]["diffusion"]["mixed_score"]
    checkpoint.save(path, {k: v for k, v in state.items() if k not in ("format", "sha256")})
    train(tmp_path, "old", 3, "--resume_training")
    assert checkpoint.path_of(run_folder, 3).exists()


@pytest.mark.slow
def test_resuming_changes_nothing_on_two_processes(tmp_path: Path) -> None:
    more = ("--training.grad_accum", "2", "--training.micro_batch", "3")
    train(tmp_path, "whole", LAST, *more, processes=2)
    train(tmp_path, "parts", 4, *more, processes=2)
    train(tmp_path, "parts", LAST, "--resume_training", *more, processes=2)
    same(tmp_path / "logs/whole", tmp_path / "logs/parts")
    lines = (tmp_path / "logs/parts/metrics.jsonl").read_text().splitlines()
    found = [record for record in map(json.loads, lines) if "by_time" in record]
    assert [record["images"] for record in found] == [24 * step for step in range(1, LAST + 1)]
    assert all(sum(record["by_time"]["count"]) == 24 for record in found)  # of both processes


@pytest.mark.slow
def test_what_times_learned_is_shared_and_resumed(tmp_path: Path) -> None:
    """Four times, so that each has its ten losses before the end."""
    more = ["--loss.name", "simple", "--diffusion.steps", "4", "--training.snapshot_freq", "1"]
    more += ["--training.times", "loss_second_moment", "--training.weight", "p2"]
    more += ["--timesteps", "4"]
    train(tmp_path, "whole", LAST, *more, processes=2)
    train(tmp_path, "parts", 6, *more, processes=2)
    train(tmp_path, "parts", LAST, "--resume_training", *more, processes=2)
    same(tmp_path / "logs/whole", tmp_path / "logs/parts")
    first = checkpoint.load(checkpoint.path_of(tmp_path / "logs/whole", 1))["times"]
    last = checkpoint.load(checkpoint.path_of(tmp_path / "logs/whole", LAST))["times"]
    assert int(first["seen"].sum()) == 12  # of one batch, whichever process drew it
    assert last["seen"].tolist() == [10] * 4


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1"])
def test_signal_saves_and_the_run_goes_on_exactly(tmp_path: Path, name: str) -> None:
    run_folder = tmp_path / "logs/parts"
    words = [*TINY, "--exp", str(tmp_path), "--doc", "parts", "--training.n_iters"]
    process = start(*words, "100000", *WORKER)
    wait_for(run_folder / "metrics.jsonl", process, lines=2)
    process.send_signal(getattr(signal, name))
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 75, output
    assert "Traceback" not in output
    (step,) = checkpoint.steps(run_folder)
    torch.set_num_threads(1)  # as the other process had, so that sums are rounded alike
    try:
        train(tmp_path, "parts", step + 3, "--resume_training", *WORKER)
        train(tmp_path, "whole", step + 3)
    finally:
        torch.set_num_threads(2)
    same(tmp_path / "logs/whole", run_folder, step + 3)


def test_resuming_needs_the_run_but_not_a_checkpoint(tmp_path: Path, capsys) -> None:
    words = [*TINY, "--exp", str(tmp_path), "--training.n_iters", "2"]
    assert main([*words, "--doc", "digits", "--resume_training"]) == 2
    train(tmp_path, "digits", 2)
    for path in (tmp_path / "logs/digits").glob("ckpt_*.pth"):
        path.unlink()
    assert main([*words, "--doc", "digits", "--resume_training"]) == 0
    assert checkpoint.steps(tmp_path / "logs/digits") == [2]
    capsys.readouterr()
    assert main([*words, "--doc", "digist", "--resume_training"]) == 2
    assert "did you mean digits" in capsys.readouterr().err


def test_a_run_may_lie_in_a_folder_of_runs(tmp_path: Path) -> None:
    train(tmp_path, "study/first", 1)
    train(tmp_path, "study/first", 2, "--resume_training", "--comment", "longer")
    words = ["--exp", str(tmp_path), "--doc", "study/first", "--sample", "--images"]
    assert main([*words, "--n_samples", "2", "--timesteps", "2", "--device", "cpu"]) == 0
    assert (tmp_path / "image_samples/images/1.png").exists()


def test_resuming_under_other_settings_is_refused(tmp_path: Path, capsys) -> None:
    train(tmp_path, "digits", 2)
    words = [*TINY, "--exp", str(tmp_path), "--doc", "digits", "--resume_training"]
    assert main([*words, "--optim.lr", "0.5", "--loss.skip", "49"]) == 2
    message = capsys.readouterr().err
    assert "optim.lr" in message and "loss.skip was 9, now 49" in message


def test_existing_run_is_refused_or_moved_aside(tmp_path: Path, capsys) -> None:
    train(tmp_path, "digits", 2)
    words = [*TINY, "--exp", str(tmp_path), "--doc", "digits", "--training.n_iters", "1"]
    assert main(words) == 2
    message = capsys.readouterr().err
    assert "--resume_training" in message and "--overwrite" in message
    assert main([*words, "--overwrite"]) == 0
    (aside,) = (tmp_path / "logs").glob("digits.*")
    assert checkpoint.steps(aside) == [2]
    assert checkpoint.steps(tmp_path / "logs/digits") == [1]


@pytest.mark.slow
def test_damaged_newest_checkpoint_is_named_and_replaced(tmp_path: Path, capsys) -> None:
    train(tmp_path, "digits", 4, "--training.snapshot_freq", "2")
    run_folder = tmp_path / "logs/digits"
    newest = checkpoint.path_of(run_folder, 4)
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 4
    newest.write_bytes(content)
    train(tmp_path, "digits", 5, "--resume_training", "--training.snapshot_freq", "2")
    message = capsys.readouterr().err
    assert "ckpt_4.pth" in message and "ckpt_2.pth" in message
    train(tmp_path, "whole", 5)
    same(run_folder, tmp_path / "logs/whole", 5)


@pytest.mark.slow
def test_a_damaged_newest_checkpoint_takes_no_place(tmp_path: Path) -> None:
    more = ["--training.snapshot_freq", "2", "--training.keep_last", "1"]
    train(tmp_path, "digits", 2, *more, "--training.milestone_freq", "2")
    train(tmp_path, "digits", 5, "--resume_training", *more, "--training.milestone_freq", "2")
    run_folder = tmp_path / "logs/digits"
    newest = checkpoint.path_of(run_folder, 5)
    newest.write_bytes(newest.read_bytes()[:1000])
    train(tmp_path, "digits", 4, "--resume_training", *more, "--training.milestone_freq", "2")
    train(tmp_path, "digits", 5, "--resume_training", *more, "--training.milestone_freq", "2")
    assert checkpoint.steps(run_folder) == [2, 4, 5]
    assert (run_folder / "ckpt_5.pth.damaged").exists()


def test_the_config_of_a_run_without_checkpoint_holds(tmp_path: Path, capsys) -> None:
    train(tmp_path, "digits", 1)
    (tmp_path / "logs/digits/ckpt_1.pth").unlink()
    words = [*TINY, "--exp", str(tmp_path), "--doc", "digits", "--resume_training"]
    assert main([*words, "--optim.lr", "0.5"]) == 2
    assert "optim.lr" in capsys.readouterr().err


def test_changed_images_are_noticed(tmp_path: Path, capsys) -> None:
    for i in range(12):
        save_image(torch.full((1, 8, 8), i / 12), tmp_path / f"data/{i}.png")
    data = [
        "--data.dataset",
        "FOLDER",
        "--data.path",
        str(tmp_path / "data"),
        "--data.holdout",
        "0",
    ]
    size = ["--data.image_size", "8", "--data.channels", "1"]
    train(tmp_path, "mine", 1, *data, *size)
    save_image(torch.ones(1, 8, 8), tmp_path / "data/99.png")
    words = [*TINY, "--exp", str(tmp_path), "--doc", "mine", "--resume_training", *data, *size]
    assert main(words) == 2
    assert "12 then, 13 now" in capsys.readouterr().err


def test_metrics_hold_every_step_once(tmp_path: Path) -> None:
    train(tmp_path, "digits", 3)
    lines = tmp_path / "logs/digits/metrics.jsonl"
    with lines.open("a") as file:  # what a killed run leaves after its last checkpoint
        file.write(json.dumps({"step": 4}) + "\n" + '{"step": 5, "lo')
    train(tmp_path, "digits", 5, "--resume_training")
    steps = [json.loads(line) for line in lines.read_text().splitlines()]
    assert [line["step"] for line in steps if "loss" in line] == [1, 2, 3, 4, 5]


def test_non_finite_loss_stops_before_the_update(tmp_path: Path, monkeypatch, capsys) -> None:
    from functions.loss import LOSSES

    calls = []
    original = LOSSES["skip"]

    @functools.wraps(original)
    def poisoned(*args, **options):
        calls.append(1)
        value = original(*args, **options)
        return value * float("nan") if len(calls) == 4 else value

    part = replace(LOSSES.parts["skip"], build=poisoned)
    monkeypatch.setitem(LOSSES.parts, "skip", part)
    words = [*TINY, "--exp", str(tmp_path), "--doc", "digits", "--training.n_iters", "9"]
    assert main([*words, "--training.snapshot_freq", "2"]) == 1
    message = capsys.readouterr().err
    assert "step 4" in message and "ckpt_2.pth" in message and "Traceback" not in message
    assert checkpoint.steps(tmp_path / "logs/digits") == [2]
