"""The trainer's denoiser, its averages, and what the loop does at which step."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from configs.schema import Config, load
from main import main
from models import checkpoint
from runners.machine.processes import Ranks
from runners.train.journal import forget, memory
from runners.train.loop import total_steps
from runners.train.trainer import new_trainer
from tests.commands import TINY

ALONE = Ranks(0, 1, torch.device("cpu"))
SMALL = [
    *(("model.ch", "32"), ("model.ch_mult", "[1]"), ("model.num_res_blocks", "1")),
    *(("model.attn_resolutions", "[]"), ("model.ema_rate", "0.5"), ("training.batch_size", "4")),
]


def config_of(*overrides: tuple[str, str], name: str = "digits.yml") -> Config:
    return load(name, [*SMALL, *overrides])


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        ("digits.yml", "predicts", "x0"),
        ("digits.yml", "predicts", "v"),
        ("digits.yml", "mixed_score", "normal"),
        ("digits_cld.yml", "mixed_score", "velocity"),
    ],
)
def test_the_averaged_denoiser_is_the_trained_one(name: str, key: str, value: str) -> None:
    config = config_of((f"diffusion.{key}", value), name=name)
    trainer = new_trainer(config, ALONE)
    with trainer.averaged() as denoiser:
        assert (denoiser.predicts, denoiser.mixed) == (
            trainer.denoiser.predicts,
            trainer.denoiser.mixed,
        )
        assert value in (denoiser.predicts, denoiser.mixed) and denoiser.clip is None


@pytest.mark.parametrize("ema", ["true", "false"])
def test_averages_are_lent_and_taken_back(ema: str) -> None:
    trainer = new_trainer(config_of(("model.ema", ema)), ALONE)
    images = torch.randint(0, 256, (4, 1, 8, 8), dtype=torch.uint8)
    for _ in trainer.steps(iter([(images, None)] * 3)):
        pass
    own = trainer.network.conv_out.weight.clone()
    with pytest.raises(KeyError), trainer.averaged() as denoiser:
        assert denoiser.network is trainer.network and not trainer.network.training
        same = torch.equal(denoiser.network.conv_out.weight, own)
        assert same is (ema == "false")
        raise KeyError
    assert trainer.network.training
    assert torch.equal(trainer.network.conv_out.weight, own)


def test_the_first_weights_are_a_function_of_the_seed() -> None:
    first = []
    for seed in ("1", "1", "2"):
        torch.rand(3)
        first.append(new_trainer(config_of(("seed", seed)), ALONE).network.conv_in.weight)
    assert torch.equal(first[0], first[1]) and not torch.equal(first[0], first[2])


@pytest.mark.parametrize(
    ("iterations", "epochs", "steps"), [("9", "null", 9), ("9", "1", 3), ("2", "5", 2)]
)
def test_training_ends_with_the_earlier_of_two(iterations: str, epochs: str, steps: int) -> None:
    keys = (("training.n_iters", iterations), ("training.n_epochs", epochs))
    assert total_steps(config_of(*keys), images=10) == steps


def train(exp: Path, *more: str) -> list[dict]:
    words = [*TINY, "--exp", str(exp), "--doc", "d", "--training.n_iters", "5", *more]
    assert main(words) == 0
    return [json.loads(x) for x in (exp / "logs/d/metrics.jsonl").read_text().splitlines()]


@pytest.mark.slow
def test_each_thing_is_done_at_its_own_frequency(tmp_path: Path) -> None:
    more = ["--training.validation_freq", "2", "--training.sample_freq", "3"]
    lines = train(tmp_path, *more, "--training.log_freq", "4", "--training.snapshot_freq", "4")
    assert [line["step"] for line in lines if "held_out/loss" in line] == [2, 4, 5]
    assert [line["step"] for line in lines if "loss" in line] == [4, 5]
    sheets = sorted(path.name for path in (tmp_path / "logs/d/samples").iterdir())
    assert sheets == ["step_3.png", "step_5.png"]
    assert checkpoint.steps(tmp_path / "logs/d") == [4, 5]


def test_a_frequency_of_zero_is_never(tmp_path: Path) -> None:
    lines = train(tmp_path, "--training.validation_freq", "0", "--training.sample_freq", "0")
    assert not any("held_out/loss" in line for line in lines)
    assert not (tmp_path / "logs/d/samples").exists()


@pytest.mark.slow
def test_what_the_network_predicts_is_kept_to_the_sample(tmp_path: Path) -> None:
    train(tmp_path, "--diffusion.predicts", "v", "--training.sample_freq", "5")
    words = ["--exp", str(tmp_path), "--doc", "d", "--device", "cpu", "--sample", "--images"]
    assert main([*words, "--n_samples", "2", "--timesteps", "2", "--ni"]) == 0
    record = json.loads((tmp_path / "image_samples/images/samples.json").read_text())
    assert record["recipe"]["process"]["predicts"] == "v"


def test_lines_of_later_steps_are_forgotten(tmp_path: Path, caplog) -> None:
    path = tmp_path / "metrics.jsonl"
    forget(path, 3)
    lines = [json.dumps({"step": step}) + "\n" for step in (1, 2, 3, 4)]
    path.write_text("".join(lines) + '{"step": 5, "lo')
    forget(path, 3)
    assert path.read_text() == "".join(lines[:3])
    before = path.stat().st_mtime_ns
    forget(path, 3)
    assert path.stat().st_mtime_ns == before
    assert memory(torch.device("cpu"))["memory_mib"] > 10


def test_gradient_checkpointing_changes_nothing_that_is_learned(tmp_path: Path) -> None:
    (tmp_path / "adm.yml").write_text(
        "data: {dataset: DIGITS}\n"
        "model: {name: adm, model_channels: 32, channel_mult: [1, 2], num_res_blocks: 1,"
        " dropout: 0.1, attention_resolutions: [2], num_head_channels: 16, resblock_updown: true,"
        " use_scale_shift_norm: true}\n"
        "training: {batch_size: 4}\n"
    )
    images = torch.randint(0, 256, (4, 1, 8, 8), dtype=torch.uint8)
    learned = []
    for less in ("false", "true"):
        torch.manual_seed(0)
        config = load(tmp_path / "adm.yml", [("model.use_checkpoint", less)])
        trainer = new_trainer(config, ALONE)
        start = trainer.network.input_blocks[0][0].weight.clone()
        losses = [step.loss.sum().item() for step in trainer.steps(iter([(images, None)] * 5))]
        learned.append((losses, trainer.network.state_dict()))
        assert not torch.equal(start, trainer.network.input_blocks[0][0].weight)
    (losses, weights), (again, others) = learned
    assert losses == again and losses[-1] != losses[0]
    assert all(torch.equal(weights[k], others[k]) for k in weights)
