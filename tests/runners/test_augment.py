"""Training with augmentation: the network is told of it, and samples are drawn without."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from configs.schema import ConfigError, load
from configs.values import Count, CountOrZero
from datasets import get_dataset
from main import main
from models import NETWORKS
from runners.machine.processes import Ranks
from runners.train.trainer import new_trainer
from tests.runners.test_resume import LAST, same

ALONE = Ranks(0, 1, torch.device("cpu"))
WORDS = [
    *("--config", "digits.yml", "--ni", "--device", "cpu", "--model.name", "told"),
    *("--data.augment", "0.3", "--training.batch_size", "12", "--training.sample_freq", "0"),
]


class Told(nn.Module):
    """Noise estimate of two convolutions, moved by what it is told of the augmentation."""

    asked: list[Tensor | None] = []

    def __init__(
        self, channels: Count = 1, width: Count = 16, augment_dim: CountOrZero = 0
    ) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels + 1, width, 3, padding=1)
        self.last = nn.Conv2d(width, channels, 3, padding=1)
        self.map = nn.Linear(augment_dim, width, bias=False) if augment_dim else None

    def forward(
        self, x: Tensor, t: Tensor, label: None = None, augment: Tensor | None = None
    ) -> Tensor:
        """States (B, C, H, W) and times (B,) or (1,) -> (B, C, H, W)."""
        if x.device.type != "meta":  # the check of the config asks too
            self.asked.append(augment)
        plane = (t.to(x) / 1000).view(-1, 1, 1, 1).expand(len(x), 1, *x.shape[2:])
        inner = self.first(torch.cat([x, plane], 1))
        if augment is not None:
            inner = inner + self.map(augment)[:, :, None, None]
        return self.last(nn.functional.silu(inner))


@pytest.fixture(autouse=True)
def told(monkeypatch: pytest.MonkeyPatch) -> type[Told]:
    monkeypatch.setattr(NETWORKS, "parts", dict(NETWORKS.parts))
    shape = {"channels": "channels", "augment_dim": "augment"}
    NETWORKS.part("told", title="told of augmentations", paper="", shape=shape)(Told)
    Told.asked = []
    return Told


def overrides(**more: str) -> list[tuple[str, str]]:
    given = {"model.name": "told", "training.batch_size": "12", "data.augment": "0.3"}
    return [*{**given, **{k.replace("__", "."): v for k, v in more.items()}}.items()]


def test_the_network_is_told_in_every_micro_batch(told: type[Told]) -> None:
    config = load("digits.yml", overrides(training__micro_batch="4", loss__name="simple"))
    assert config.model.options["augment_dim"] == 9
    trainer, images = new_trainer(config, ALONE), get_dataset(config)[0].images(range(12))
    told.asked = []
    before = {name: p.clone() for name, p in trainer.network.named_parameters()}
    next(trainer.steps(iter([(images, None)])))
    assert [len(labels) for labels in told.asked] == [4, 4, 4]
    assert torch.cat(told.asked).any(1).sum() > 6
    moved = [not torch.equal(p, before[n]) for n, p in trainer.network.named_parameters()]
    assert all(moved)
    with trainer.averaged() as denoiser:
        denoiser(torch.zeros(2, 1, 8, 8), 5)
    assert told.asked[-1] is None


def test_without_augmentation_nothing_is_told_or_drawn(told: type[Told]) -> None:
    config = load("digits.yml", overrides(data__augment="0", loss__name="simple"))
    assert config.model.options["augment_dim"] == 0
    trainer = new_trainer(config, ALONE)
    told.asked = []
    next(trainer.steps(iter([(get_dataset(config)[0].images(range(12)), None)])))
    assert told.asked == [None]
    trained_with = load("digits.yml", overrides(data__augment="0", model__augment_dim="9"))
    assert trained_with.model.options["augment_dim"] == 9  # such as foreign weights have


@pytest.mark.parametrize(
    ("more", "line"),
    [
        ({"model.name": "ddpm"}, "needs a network that can be told of augmentations, and network"),
        ({"model.name": "ddpm"}, "told can"),
        ({"data.random_flip": "true"}, "data.random_flip should be false"),
        ({"data.image_size": "3"}, "needs images of at least 4 pixels"),
        ({"model.augment_dim": "4"}, "augment_dim: 4 does not fit data.augment; it should be 9"),
        ({"data.augment": "1"}, "data.augment: 1 is not valid"),
    ],
)
def test_what_cannot_be_is_one_line(more: dict[str, str], line: str) -> None:
    given = {"model.name": "told", "data.augment": "0.12"}
    if "model.name" not in more:
        given |= {"loss.name": "simple"}
    with pytest.raises(ConfigError) as err:
        load("digits.yml", [*{**given, **more}.items()])
    assert line in str(err.value) and "\n" not in str(err.value)


def test_a_run_draws_what_it_sees_resumes_exactly_and_samples_untold(
    tmp_path: Path, told: type[Told]
) -> None:
    words = [*WORDS, "--exp", str(tmp_path), "--training.n_iters"]
    assert main([*words, str(LAST), "--doc", "whole"]) == 0
    assert main([*words, "4", "--doc", "parts"]) == 0
    assert main([*words, str(LAST), "--doc", "parts", "--resume_training"]) == 0
    same(tmp_path / "logs/whole", tmp_path / "logs/parts")
    with Image.open(tmp_path / "logs/whole/samples/augmented.png") as sheet:
        assert sheet.width > sheet.height > 6 * 32
    told.asked = []
    words = ["--sample", "--images", "--n_samples", "2", "--timesteps", "2", "--device", "cpu"]
    assert main(["--doc", "whole", "--exp", str(tmp_path), "--ni", *words]) == 0
    assert set(told.asked) == {None}
