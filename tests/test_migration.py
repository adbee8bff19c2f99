"""The commands of docs/migration_adm.md, shrunk, run as they are written."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from configs.schema import load
from main import main
from models import build
from models.interop import export

PAGE = Path(__file__).parents[1] / "docs" / "migration_adm.md"
SMALL = {
    **{"data.image_size": "16", "data.num_workers": "0", "model.model_channels": "32"},
    **{"model.channel_mult": "[1, 2]", "model.attention_resolutions": "[2]"},
    **{"model.num_head_channels": "32", "training.precision": "fp32", "training.batch_size": "2"},
    **{"training.n_images": "16", "training.sample_freq": "0", "training.log_freq": "1"},
}
DRAWN = {"sampling.n_samples": "2", "sampling.batch_size": "2"}


def commands():
    return [line for line in PAGE.read_text().splitlines() if line.startswith("python main.py")]


def run(command, exp, replaced, more):
    for old, new in replaced.items():
        command = re.sub(rf"(?<=\s){old}(?=\s)", str(new), command)
    words = shlex.split(command)[2:] + ["--exp", str(exp), "--device", "cpu"]
    return main([*words, *(word for key, value in more.items() for word in (f"--{key}", value))])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("faces")
    for i in range(4):
        pixels = np.random.default_rng(i).integers(0, 256, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path / f"{i}.png")
    return path


def test_the_page_translates_three_commands():
    assert len(commands()) == 3


@pytest.mark.slow
def test_the_training_and_the_sampling_command_run(folder, tmp_path):
    train, sample, _ = commands()
    assert run(train, tmp_path, {"data/128x128_ffhq": folder}, SMALL) == 0
    state = torch.load(tmp_path / "logs" / "ffhq128" / "ckpt_2.pth", weights_only=True)
    assert state["step"] == 2  # 16 images in updates of 4 x 2
    assert run(sample, tmp_path, {"DIR": "drawn"}, DRAWN) == 0
    assert len(list((tmp_path / "image_samples" / "drawn").glob("*.png"))) == 2


@pytest.mark.slow
def test_a_checkpoint_of_guided_diffusion_is_sampled(tmp_path):
    config = load("ffhq128_p2.yml", list(SMALL.items()))
    torch.manual_seed(0)
    network = build("adm", **config.model.options)
    file = tmp_path / "ema_0.9999_100000.pt"
    torch.save(export(network, "adm"), file)
    shape = {key: value for key, value in SMALL.items() if not key.startswith("training")}
    command = commands()[2]
    assert run(command, tmp_path, {"PATH": file, "DIR": "drawn"}, {**shape, **DRAWN}) == 0
    assert len(list((tmp_path / "image_samples" / "drawn").glob("*.png"))) == 2


def test_the_settings_are_those_of_the_published_command():
    config = load("ffhq128_p2.yml")
    training, model = config.training, config.model.options
    assert training.images_per_update == 256 and training.end(70_000) == ("n_images", 100_000)
    assert (config.loss.name, config.model.var_type) == ("hybrid", "learned")
    assert config.loss.options["rescaled"] and config.optim.lr == 2e-5
    assert (model["in_channels"], model["out_channels"], model["num_classes"]) == (3, 6, None)
