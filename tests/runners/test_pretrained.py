"""`--use_pretrained` with every foreign layout, and what it says where there is nothing."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from main import main
from models import build, interop

GOLDEN = Path(__file__).parents[1] / "golden" / "models"
SMALL = [
    *("--model.ch", "32", "--model.ch_mult", "[1,1]", "--model.num_res_blocks", "1"),
    *("--model.attn_resolutions", "[8]", "--data.dataset", "FOLDER", "--data.image_size", "16"),
]


def draw(exp: Path, source: str | None, folder: str = "images", *more: str) -> int:
    pretrained = ["--use_pretrained", *([source] if source else [])]
    return main(
        [
            *("--config", "cifar10.yml", "--exp", str(exp), "--device", "cpu", "--ni", *pretrained),
            *("--sample", "--images", "--n_samples", "3", "--timesteps", "4", "-i", folder),
            *("--sampling.batch_size", "3", *SMALL, *more),
        ]
    )


def images(exp: Path, folder: str = "images") -> np.ndarray:
    paths = [exp / "image_samples" / folder / f"{i}.png" for i in range(3)]
    return np.stack([np.asarray(Image.open(path)) for path in paths])


@pytest.fixture(scope="module")
def network():
    """The network of the stored checkpoint, its average loaded."""
    net = build(
        "ddpm", image_size=16, ch=32, ch_mult=(1, 1), num_res_blocks=1, attn_resolutions=(8,)
    )
    state, info = interop.read(GOLDEN / "ckpt.pth")
    assert info["weights"] == "ema"
    interop.load_foreign(net, state, info["layout"])
    return net.eval()


@pytest.mark.slow
def test_every_layout_gives_the_same_images(tmp_path: Path, network) -> None:
    plain = interop.export(network, "ddim")
    torch.save(plain, tmp_path / "plain.ckpt")
    torch.save({f"module._orig_mod.{k}": v for k, v in plain.items()}, tmp_path / "wrapped.ckpt")
    diffusers = tmp_path / "diffusers"
    diffusers.mkdir()
    text = (GOLDEN / "diffusers_tiny_config.json").read_text()
    narrow = text.replace("    32,\n    64\n", "    32,\n    32\n")
    assert narrow != text
    (diffusers / "config.json").write_text(narrow)
    weights = interop.export(network, "diffusers")
    save_file(weights, str(diffusers / "diffusion_pytorch_model.safetensors"))
    sources = [
        GOLDEN / "ckpt.pth",
        *(tmp_path / n for n in ("plain.ckpt", "wrapped.ckpt", "diffusers")),
    ]
    drawn = []
    for i, source in enumerate(sources):
        assert draw(tmp_path, str(source), f"s{i}") == 0
        drawn.append(images(tmp_path, f"s{i}"))
    assert len(np.unique(drawn[0], axis=0)) == 3
    for other in drawn[1:]:
        assert np.array_equal(other, drawn[0])


@pytest.fixture
def ddim(tmp_path: Path) -> list[str]:
    """A run as the DDIM repository's trainer leaves it, all its files; the words that name it."""
    run = tmp_path / "logs/old"
    run.mkdir(parents=True)
    state = torch.load(GOLDEN / "ckpt.pth", weights_only=True)
    for step in (1, 5, 5000):
        earlier = [{**part} if isinstance(part, dict) else part for part in state]
        name = next(iter(earlier[-1]))
        earlier[-1][name] = earlier[-1][name] * (1 + 1 / step)
        torch.save(earlier, run / f"ckpt_{step}.pth")
    shutil.copy(GOLDEN / "ckpt.pth", run / "ckpt.pth")
    (run / "config.yml").write_text("!!python/object:argparse.Namespace\ndata: 1\n")
    (run / "stdout.txt").write_text("INFO - runner.py\n")
    words = ["--config", "cifar10.yml", "--exp", str(tmp_path), "--doc", "old", "--device", "cpu"]
    return [*words, "--ni", *SMALL]


DRAWN = ["--sample", "--images", "--n_samples", "3", "--timesteps", "4"]


def test_a_folder_of_the_ddim_repository_is_sampled_from(tmp_path: Path, ddim: list[str]) -> None:
    assert main([*ddim, *DRAWN]) == 0
    assert draw(tmp_path, str(GOLDEN / "ckpt.pth"), "direct") == 0
    assert np.array_equal(images(tmp_path), images(tmp_path, "direct"))


@pytest.mark.slow
@pytest.mark.parametrize("step", ["1", "5"])
def test_a_step_of_the_ddim_repository_is_sampled_from(
    tmp_path: Path, ddim: list[str], step: str
) -> None:
    assert main([*ddim, *DRAWN, "--sampling.ckpt_id", step, "-i", "step"]) == 0
    assert draw(tmp_path, str(tmp_path / f"logs/old/ckpt_{step}.pth"), "direct") == 0
    assert np.array_equal(images(tmp_path, "step"), images(tmp_path, "direct"))
    assert main([*ddim, *DRAWN, "-i", "newest"]) == 0
    records = (tmp_path / f"image_samples/{name}/samples.json" for name in ("step", "newest"))
    one, two = (json.loads(path.read_text())["recipe"] for path in records)
    assert one["source"].endswith(f"ckpt_{step}.pth") and one["weights"] != two["weights"]


def test_steps_of_the_ddim_repository_are_named(tmp_path: Path, ddim: list[str], capsys) -> None:
    assert main([*ddim, *DRAWN, "--sampling.ckpt_id", "7"]) == 2
    there = "ckpt.pth, ckpt_1.pth, ckpt_5.pth, ckpt_5000.pth"
    assert f"sampling.ckpt_id 7: no {tmp_path / 'logs/old/ckpt_7.pth'}; there is {there}" in (
        capsys.readouterr().err
    )
    (tmp_path / "logs/old/ckpt.pth").unlink()
    assert main([*ddim, *DRAWN]) == 2
    assert "no ckpt.pth; name one of ckpt_1.pth, ckpt_5.pth" in capsys.readouterr().err


def test_a_run_of_the_ddim_repository_is_not_trained_over(
    tmp_path: Path, ddim: list[str], capsys
) -> None:
    before = {p.name: p.read_bytes() for p in (tmp_path / "logs/old").iterdir()}
    data = ["--data.path", str(tmp_path / "data")]
    save_images(tmp_path / "data")
    assert main([*ddim, "--resume_training", *data]) == 2
    message = capsys.readouterr().err
    assert "of another program" in message and "another --doc" in message
    assert {p.name: p.read_bytes() for p in (tmp_path / "logs/old").iterdir()} == before


def save_images(folder: Path) -> None:
    folder.mkdir()
    for index in range(4):
        Image.new("RGB", (16, 16), (index, 0, 0)).save(folder / f"{index}.png")


def test_published_weights_put_by_hand_are_found(tmp_path: Path) -> None:
    home = tmp_path / "pretrained"
    home.mkdir()
    shutil.copy(GOLDEN / "ckpt.pth", home / "folder")
    assert draw(tmp_path, None) == 0


CASES = {
    "wrong side": ([str(GOLDEN / "diffusers"), "images"], 2, "no such file"),
    "no file": (["nowhere.pth"], 2, "no such file"),
    "nothing published": ([None], 2, "no published EMA model"),
}


@pytest.mark.parametrize("name", CASES)
def test_one_clear_line(tmp_path: Path, capsys, name: str) -> None:
    arguments, code, text = CASES[name]
    assert draw(tmp_path, *arguments) == code
    message = capsys.readouterr().err
    assert text in message and message.count("error:") == 1 and "Traceback" not in message


@pytest.mark.parametrize("how", ["package missing", "network missing"])
def test_without_the_hub_one_line_says_what_to_put_where(
    tmp_path: Path, capsys, monkeypatch, how: str
) -> None:
    hub = None
    if how == "network missing":
        hub = type(sys)("huggingface_hub")

        def refuse(*_args, **_options):
            raise ConnectionError("no route")

        hub.snapshot_download = refuse
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    more = [
        "--data.dataset",
        "CIFAR10",
        "--data.image_size",
        "32",
        "--model.attn_resolutions",
        "[16]",
    ]
    assert draw(tmp_path, None, "images", *more) in (1, 2)
    message = capsys.readouterr().err
    assert "fusing/ddpm-cifar10-ema" in message and str(tmp_path / "pretrained/cifar10") in message
    assert message.count("error:") == 1


def test_a_malicious_file_is_refused_unexecuted(tmp_path: Path, capsys) -> None:
    class Bomb:
        def __reduce__(self):
            return (open, (str(tmp_path / "pwned"), "w"))

    torch.save({"temb.dense.0.weight": Bomb()}, tmp_path / "bomb.pth")
    assert draw(tmp_path, str(tmp_path / "bomb.pth")) == 2
    assert not (tmp_path / "pwned").exists()
    assert capsys.readouterr().err.count("error:") == 1


ADM = """
data: {dataset: FOLDER, image_size: 16, channels: 3}
model: {name: adm, model_channels: 32, num_res_blocks: 1, channel_mult: [1, 2],
        num_head_channels: 16, attention_resolutions: [2], use_scale_shift_norm: true,
        resblock_updown: true}
sampling: {batch_size: 3, n_samples: 3, timesteps: 4}
"""


@pytest.fixture
def adm(tmp_path: Path) -> dict[str, torch.Tensor]:
    """Weights of guided-diffusion's network that answer the noise only; a config beside them."""
    (tmp_path / "adm.yml").write_text(ADM)
    arrays = np.load(GOLDEN / "adm_a.npz")
    weights = {k[3:]: torch.tensor(arrays[k]) for k in arrays.files if k.startswith("sd/")}
    for key in ("out.2.weight", "out.2.bias"):
        weights[key] = weights[key][:3]
    return weights


def draw_adm(exp: Path, name: str, *more: str, folder: str = "images") -> int:
    return main(
        [
            *("--config", str(exp / "adm.yml"), "--exp", str(exp), "--device", "cpu", "--ni"),
            *("--use_pretrained", str(exp / name), "--sample", "--images", "-i", folder, *more),
        ]
    )


def test_files_of_guided_diffusion_draw_images(tmp_path: Path, adm, capsys) -> None:
    half = {key: value.half() for key, value in adm.items()}
    torch.save(adm, tmp_path / "model050000.pt")
    torch.save(half, tmp_path / "ema_0.9999_050000.pt")
    torch.save({key: value.float() for key, value in half.items()}, tmp_path / "rounded.pt")
    names = ("model050000.pt", "ema_0.9999_050000.pt", "rounded.pt")
    assert [draw_adm(tmp_path, name, folder=name) for name in names] == [0, 0, 0]
    assert "not the config's" not in capsys.readouterr().err
    whole, ema, rounded = (images(tmp_path, name) for name in names)
    assert len(np.unique(whole, axis=0)) == 3
    assert np.array_equal(ema, rounded) and np.abs(whole.astype(int) - ema).max() <= 3
    recipe = json.loads((tmp_path / f"image_samples/{names[1]}/samples.json").read_text())["recipe"]
    assert (recipe["average"], recipe["training_step"]) == ("ema 0.9999", 50_000)


def test_a_file_that_answers_variances_is_drawn_from_with_them(tmp_path: Path) -> None:
    (tmp_path / "adm.yml").write_text(ADM.replace("{name: adm", "{name: adm, var_type: learned"))
    arrays = np.load(GOLDEN / "adm_a.npz")
    weights = {k[3:]: torch.tensor(arrays[k]) for k in arrays.files if k.startswith("sd/")}
    torch.save(weights, tmp_path / "model050000.pt")
    kinds = ("ddpm:learned", "ddpm", "ddpm:small", "ddim")
    for i, kind in enumerate(kinds):
        assert draw_adm(tmp_path, "model050000.pt", "--sample_type", kind, folder=f"s{i}") == 0
    learned, own, small, ddim = (images(tmp_path, f"s{i}") for i in range(len(kinds)))
    assert np.array_equal(learned, own) and not np.array_equal(learned, small)
    half = {k: v[:3] if k.startswith("out.2.") else v for k, v in weights.items()}
    torch.save(half, tmp_path / "half.pt")  # the same prediction without variances
    (tmp_path / "adm.yml").write_text(ADM)
    assert draw_adm(tmp_path, "half.pt", "--sample_type", "ddim", folder="half") == 0
    assert np.abs(images(tmp_path, "half").astype(int) - ddim).max() <= 1


def test_the_files_own_shapes_win_over_the_config(tmp_path: Path, adm, capsys) -> None:
    torch.save(adm, tmp_path / "model.pt")
    other = ["--model.channel_mult", "[1]", "--model.attention_resolutions", "[]"]
    assert draw_adm(tmp_path, "model.pt", *other, "--model.resblock_updown", "false") == 0
    (line,) = (k for k in capsys.readouterr().err.splitlines() if "not the config's" in k)
    told = "its own attention_resolutions [2], channel_mult [1, 2], resblock_updown true"
    assert told in line and "model.pt" in line
    assert draw_adm(tmp_path, "model.pt", folder="same") == 0
    assert np.array_equal(images(tmp_path), images(tmp_path, "same"))
