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
    ("said", "key", "steps"),
    [
        ({"n_iters": "9"}, "n_iters", 9),
        ({"n_iters": "9", "n_epochs": "1"}, "n_epochs", 3),
        ({"n_iters": "2", "n_epochs": "5"}, "n_iters", 2),
        ({"n_images": "1k"}, "n_images", 250),
        ({"n_images": "25.6M"}, "n_images", 6_400_000),  # not cut by a default
        ({"n_images": "999", "grad_accum": "8"}, "n_images", 32),
        ({"n_images": "1k", "n_iters": "9", "n_epochs": "2"}, "n_epochs", 5),
        ({"n_epochs": "900000"}, "n_epochs", 2_250_000),
        ({}, "n_iters", 800_000),
    ],
)
def test_a_training_ends_with_the_first_of_its_lengths(said, key: str, steps: int) -> None:
    lengths = {"n_iters": "null", **said}
    config = config_of(*((f"training.{name}", text) for name, text in lengths.items()))
    assert config.training.end(10) == (key, steps)


def weights_after(*keys: tuple[str, str]) -> torch.Tensor:
    """All weights after three updates with the same images and without dropout. A large eps makes
    an update of Adam smooth in the gradient, so that rounding is not blown up.
    """
    words = (("loss.name", "simple"), ("model.dropout", "0"), ("optim.warmup", "0"))
    words += (("optim.lr", "0.1"), ("optim.eps", "1"))
    trainer = new_trainer(config_of(*words, *keys), ALONE)
    images = torch.arange(8 * 64, dtype=torch.uint8).view(8, 1, 8, 8)
    steps = list(trainer.steps(iter([(images, None)] * 3)))
    assert steps[-1].images == 24 and len(steps[-1].loss) == 8
    return torch.cat([p.detach().flatten() for p in trainer.network.parameters()])


def test_gradients_of_several_batches_are_those_of_one_large_batch() -> None:
    one = weights_after(("training.batch_size", "8"))
    for batch, accum, micro in (("2", "4", "null"), ("4", "2", "2"), ("4", "2", "null")):
        keys = (("training.batch_size", batch), ("training.grad_accum", accum))
        several = weights_after(*keys, ("training.micro_batch", micro))
        assert torch.allclose(several, one, rtol=0, atol=1e-6), (batch, accum, micro)
    assert not torch.allclose(weights_after(("training.batch_size", "8"), ("seed", "5")), one)


def test_portions_of_an_update_are_batches(monkeypatch) -> None:
    """No forward pass sees more than batch_size images."""
    keys = (("training.batch_size", "2"), ("training.grad_accum", "4"), ("loss.name", "simple"))
    trainer = new_trainer(config_of(*keys), ALONE)
    sizes = []
    trainer.network.register_forward_pre_hook(lambda _, given: sizes.append(len(given[0])))
    images = torch.zeros(8, 1, 8, 8, dtype=torch.uint8)
    next(trainer.steps(iter([(images, None)])))
    assert sizes == [2, 2, 2, 2]


@pytest.mark.parametrize(
    ("anneal", "factors"),
    [("linear", [1, 0.75, 0.5, 0.25]), ("inverse_sqrt:4", [1, 1, 0.5**0.5, 3**-0.5])],
)
def test_the_learning_rate_is_warmed_up_and_annealed(anneal: str, factors: list[float]) -> None:
    keys = (("optim.anneal", anneal), ("optim.warmup", "2"), ("optim.lr", "1e-3"))
    trainer = new_trainer(config_of(*keys), ALONE)
    images = torch.zeros(4, 1, 8, 8, dtype=torch.uint8)
    rates = [step.lr for step in trainer.steps(iter([(images, None)] * 4), total=4)]
    assert rates == pytest.approx([5e-4, *(1e-3 * factor for factor in factors[1:])])


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
