"""The trainer's denoiser, its averages, and what the loop does at which step."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from configs.schema import Config, load
from datasets import get_dataset
from functions.loss import LOSSES
from functions.times import TIMES
from functions.weights import p2
from main import main
from models import checkpoint
from runners.machine.processes import Ranks
from runners.measure.held_out import held_out_loss
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


def test_losses_by_time_are_written_with_every_checkpoint(tmp_path: Path) -> None:
    """Every image is counted once, through a kill and a resumption too."""
    lines = train(tmp_path, "--training.snapshot_freq", "2", "--training.log_freq", "5")
    checkpoint.path_of(tmp_path / "logs/d", 5).unlink()  # as if killed at step 5
    lines = train(tmp_path, "--training.snapshot_freq", "2", "--resume_training")
    found = {line["step"]: line["by_time"] for line in lines if "by_time" in line}
    assert list(found) == [1, 2, 3, 4, 5]
    assert [sum(by_time["count"]) for by_time in found.values()] == [12] * 5
    assert sum(found[5]["density"]) == pytest.approx(1, abs=1e-4)


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


def steps_of(trainer, count, begin=0):
    """Some steps, each on images that follow from its number."""
    for number in range(begin, begin + count):
        pixels = torch.Generator().manual_seed(number)
        images = torch.randint(0, 256, (12, 1, 8, 8), dtype=torch.uint8, generator=pixels)
        (step,) = trainer.steps(iter([(images, None)]))
        yield step


@pytest.mark.parametrize("times", TIMES)
def test_every_density_of_times_is_resumed_exactly(times: str, tmp_path: Path) -> None:
    """Five times, so that each has its ten losses before the interruption."""
    keys = [("training.times", times), ("loss.name", "simple"), ("diffusion.steps", "5")]
    config = config_of(*keys, ("training.batch_size", "12"), ("sampling.timesteps", "5"))
    whole, first, second = (new_trainer(config, ALONE) for _ in range(3))
    wanted = [*steps_of(whole, 16)]
    assert [*steps_of(first, 11)][-1].step == 11
    checkpoint.save(tmp_path / "ckpt_11.pth", first.state())
    second.load(checkpoint.load(tmp_path / "ckpt_11.pth"))
    for step, want in zip(steps_of(second, 5, begin=11), wanted[11:], strict=True):
        assert torch.equal(step.t, want.t) and torch.equal(step.loss, want.loss)
    for mine, other in zip(second.network.parameters(), whole.network.parameters(), strict=True):
        assert torch.equal(mine, other)
    if times == "loss_second_moment":
        assert second.times.seen.tolist() == [10] * 5
        assert torch.equal(second.times.probabilities, whole.times.probabilities)
        assert second.times.probabilities.unique().numel() == 5


def test_a_checkpoint_without_times_is_resumed() -> None:
    trainer = new_trainer(config_of(("training.times", "loss_second_moment")), ALONE)
    state = trainer.state()
    del state["times"]
    trainer.load(state)


def weighed(*keys: tuple[str, str]):
    """The first step under these keys, the gradient of its update, and its trainer."""
    trainer = new_trainer(config_of(("training.batch_size", "12"), *keys), ALONE)
    trainer.optimizer.step = lambda *_: None
    trainer.optimizer.zero_grad = lambda **_: None
    (step,) = steps_of(trainer, 1)
    return step, gradient_of(trainer), trainer


def gradient_of(trainer):
    return torch.cat([p.grad.flatten() for p in trainer.network.parameters()])


@pytest.mark.parametrize("predicts", ["eps", "x0"])
def test_a_weight_moves_the_gradient_and_no_loss_that_is_logged(predicts: str) -> None:
    keys = [("diffusion.predicts", predicts), ("loss.name", "simple"), ("model.dropout", "0")]
    keys += [("optim.grad_clip", "null")]
    plain, unweighted, trainer = weighed(*keys)
    step, gradient, _ = weighed(
        *keys, ("training.weight", "p2:1:0.5"), ("training.micro_batch", "4")
    )
    assert torch.equal(step.t, plain.t)
    torch.testing.assert_close(step.loss, plain.loss)
    weight = p2(trainer.denoiser.process, plain.t, 1.0, 0.5, predicts).float()
    draw = trainer.times.sample
    trainer.times.sample = lambda n: (draw(n)[0], weight)  # importance weights act alike
    trainer.network.zero_grad(set_to_none=True)
    trainer.step = 0
    next(steps_of(trainer, 1))
    torch.testing.assert_close(gradient, gradient_of(trainer), rtol=1e-4, atol=1e-6)
    assert not torch.allclose(gradient, unweighted, rtol=0.1)


def test_a_loss_that_takes_the_weight_gets_it(monkeypatch) -> None:
    """It is then not multiplied by it, and logged as it is returned."""
    monkeypatch.setattr(LOSSES, "parts", dict(LOSSES.parts))
    simple = LOSSES["simple"]

    @LOSSES.part(title="x", paper="")
    def half_weighed(denoiser, x0, t, noise, weight=None):
        given.append(weight)
        return simple(denoiser, x0, t, noise) * (1 if weight is None else weight) + 1

    given = []
    keys = [("loss.name", "half_weighed"), ("model.dropout", "0"), ("optim.grad_clip", "null")]
    step, gradient, trainer = weighed(*keys, ("training.weight", "p2"))
    torch.testing.assert_close(given[0], p2(trainer.denoiser.process, step.t).float())
    other, same, _ = weighed(*[("loss.name", "simple"), *keys[1:]], ("training.weight", "p2"))
    torch.testing.assert_close(gradient, same)
    torch.testing.assert_close(step.loss, other.loss * given[0] + 1)


def test_the_held_out_loss_knows_no_weight_and_no_density(tmp_path: Path) -> None:
    """Runs that differ in these only are compared on one measure."""
    keys = [("training.times", "under:1"), ("training.weight", "p2")]
    plain, other = config_of(), config_of(*keys)
    _, held_out = get_dataset(plain, tmp_path)
    denoiser = new_trainer(plain, ALONE).denoiser
    losses = [held_out_loss(denoiser, held_out, config, ALONE, 64) for config in (plain, other)]
    assert losses[0] == losses[1]
