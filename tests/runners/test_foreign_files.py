"""`--use_pretrained FILE` fills the config from files of other programs; one line refuses them."""

from __future__ import annotations

import json
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from configs.schema import Config, load
from main import main
from models import build, interop
from runners.model import weights
from runners.model.load import adopt
from tests.models.formats import HERE, Persistent, fake_modules

GOLDEN = Path(__file__).parents[1] / "golden" / "models"
BARE = "data: {dataset: FOLDER, image_size: %d, channels: %d}\n"


def draw(tmp_path: Path, source: Path, *more: str, side: int = 8, channels: int = 3) -> int:
    """Draw two images by a config that says nothing but the shape of the images."""
    (tmp_path / "bare.yml").write_text(BARE % (side, channels))
    return main(
        [
            *("--config", str(tmp_path / "bare.yml"), "--exp", str(tmp_path), "--device", "cpu"),
            *("--ni", "--use_pretrained", str(source), "--sample", "--images", "--n_samples", "2"),
            *("--timesteps", "3", "-i", "images", *more),
        ]
    )


def filled(tmp_path: Path, source: Path, *overrides: tuple[str, str]) -> Config:
    """The config that this file is opened with."""
    config = load(tmp_path / "bare.yml", overrides, foreign=True)
    return adopt(config, weights.of_file(source, config.data.image_size)[0])


def adm_file(path: Path, name: str, **whole) -> Path:
    """Weights of guided-diffusion's network, or of a trainer that has its names."""
    arrays = np.load(GOLDEN / f"{name}.npz")
    plain = {k[3:]: torch.tensor(arrays[k]).float() for k in arrays.files if k.startswith("sd/")}
    torch.save({"net_model": plain, **whole} if whole else plain, path)
    return path


def test_a_snapshot_of_edm_fills_everything(tmp_path: Path, capsys) -> None:
    assert draw(tmp_path, HERE / "edm.pkl", "--sample_type", "heun", "--skip_type", "karras:7") == 0
    said = capsys.readouterr().err
    assert "edm.pkl: layout edm, network song, weights ema, process edm, predicts edm" in said
    assert "not the config's" not in said
    found = filled(tmp_path, HERE / "edm.pkl")
    assert found.model.name == "song" and found.model.options["model_channels"] == 4
    assert found.diffusion.predicts == "edm" and found.model.options["augment_dim"] == 9
    before = {*tmp_path.rglob("*")}
    assert draw(tmp_path, HERE / "edm.pkl", side=16) == 2
    says = r"error: data.image_size 16: .*edm.pkl has images of 8x8; it should be 8\n"
    assert re.search(says, capsys.readouterr().err)
    assert {*tmp_path.rglob("*")} == before


def test_score_sde_fills_the_network_and_its_process(tmp_path: Path, capsys) -> None:
    assert draw(tmp_path, HERE / "ddpmpp.pth", "--sample_type", "deis:2") == 0
    said = capsys.readouterr().err
    what = (
        "layout score_sde, network ncsnpp, weights ema 0.9999, step 7, process vpsde, predicts eps"
    )
    assert what in said and "not the config's" not in said
    assert filled(tmp_path, HERE / "ddpmpp.pth").model.options["attn_resolutions"] == (8,)
    kept = filled(tmp_path, HERE / "ddpmpp.pth", ("diffusion.process", "subvp"))
    assert kept.diffusion.process == "subvp"  # whose files look the same
    assert draw(tmp_path, HERE / "ddpmpp.pth", channels=1) == 2
    error = capsys.readouterr().err
    assert re.search(
        r"error: data.channels 1: .*ddpmpp.pth takes states of 3 channels, not 1", error
    )


def test_what_a_file_does_not_tell_is_the_configs_and_said(tmp_path: Path, capsys) -> None:
    assert draw(tmp_path, HERE / "ncsnpp.pth", "--diffusion.process", "vpsde") == 0
    assert "not in the file, so the config's: process and prediction" in capsys.readouterr().err
    found = filled(tmp_path, HERE / "ncsnpp.pth", ("diffusion.process", "vpsde"))
    assert found.diffusion.process == "vpsde" and found.model.options["fir"] is True


def test_a_guide_may_be_a_foreign_file_too(tmp_path: Path, capsys) -> None:
    guide = ["--guidance", "2", "--guide", str(HERE / "ddpmpp.pth")]
    assert draw(tmp_path, HERE / "ddpmpp.pth", *guide) == 0
    assert draw(tmp_path, HERE / "edm.pkl", *guide, "-i", "other") == 2
    error = capsys.readouterr().err
    assert re.search("--guide .*ddpmpp.pth was trained with diffusion.process vpsde", error)


def test_a_config_that_says_something_else_is_warned(tmp_path: Path, capsys) -> None:
    other = ["--model.name", "adm", "--model.model_channels", "64", "--diffusion.beta_end", "0.03"]
    assert draw(tmp_path, HERE / "ddpmpp.pth", *other) == 0
    said = capsys.readouterr().err
    assert "its network ncsnpp is used, not the config's adm" in said
    assert "its own process vpsde is used, not the config's" in said


def test_torchcfm_fills_flow_and_its_velocity(tmp_path: Path, capsys) -> None:
    path = adm_file(tmp_path / "cfm.pt", "adm_a", step=9)
    content = torch.load(path, weights_only=True)
    for key in ("out.2.weight", "out.2.bias"):
        content["net_model"][key] = content["net_model"][key][:3]
    torch.save(content, path)
    assert draw(tmp_path, path, "--sample_type", "ddim", side=16) == 0
    said = capsys.readouterr().err
    assert "layout torchcfm, network adm, weights raw, step 9, process flow, predicts velo" in said
    assert "so the config's: num_heads, num_head_channels, use_new_attention_order" in said
    found = filled(tmp_path, path).diffusion
    assert (found.process, found.predicts, found.options["time"]) == ("flow", "velocity", "1-t")


def test_labels_and_a_variance_fill_what_belongs_to_them(tmp_path: Path, capsys) -> None:
    options = json.loads((GOLDEN / "adm_configs.json").read_text())["adm_b"]["options"]
    path = adm_file(tmp_path / "model.pt", "adm_b")
    shape = {"side": options["image_size"], "channels": options["in_channels"]}
    assert draw(tmp_path, path, **shape) == 0
    assert f"data.classes is {options['num_classes']} by its labels" in capsys.readouterr().err
    assert filled(tmp_path, path).data.classes == options["num_classes"]
    assert draw(tmp_path, path, "--data.classes", "99", **shape) == 2
    assert re.search("model.num_classes 99: .* has .*data.classes and", capsys.readouterr().err)
    twice = adm_file(tmp_path / "twice.pt", "adm_a")
    assert draw(tmp_path, twice, "-i", "twice", side=16) == 0
    assert "model.var_type is learned by its answer" in capsys.readouterr().err


@pytest.mark.parametrize("process", ["flow", "edm"])
def test_a_pipeline_of_diffusers_fills_its_process(tmp_path: Path, capsys, process: str) -> None:
    golden = np.load(GOLDEN / "diffusers_tiny.npz")
    plain = {k[3:]: torch.tensor(golden[k]) for k in golden.files if k.startswith("sd/")}
    unet, config = tmp_path / "folder/unet", json.loads((HERE / "schedulers.json").read_text())
    unet.mkdir(parents=True)
    (unet / "config.json").write_text((GOLDEN / "diffusers_tiny_config.json").read_text())
    save_file(plain, unet / "diffusion_pytorch_model.safetensors")
    side = json.loads((unet / "config.json").read_text())["sample_size"]
    assert draw(tmp_path, tmp_path / "folder", side=side) == 2
    error = capsys.readouterr().err
    assert (
        error.count("\n") == 1 and "scheduler_config.json: a diffusers pipeline holds one" in error
    )
    (tmp_path / "folder/scheduler").mkdir()
    text = json.dumps(config["schedulers"][process]["config"])
    (tmp_path / "folder/scheduler/scheduler_config.json").write_text(text)
    assert draw(tmp_path, tmp_path / "folder", "--sample_type", "ddim", side=side) == 0
    assert f"layout diffusers, network ddpm, weights unknown, process {process}" in (
        capsys.readouterr().err
    )
    assert (
        filled(tmp_path, tmp_path / "folder").diffusion.predicts
        == {"flow": "velocity", "edm": "edm"}[process]
    )


def test_a_pickle_that_names_something_else_is_refused(tmp_path: Path, capsys) -> None:
    class Bomb:
        def __reduce__(self):
            return Path.touch, (tmp_path / "trace",)

    with fake_modules():
        content = pickle.dumps({"ema": Persistent("EDMPrecond"), "loss_fn": Bomb()})
    (tmp_path / "network-snapshot-000100.pkl").write_bytes(content)
    (tmp_path / "bare.yml").touch()
    before = {*tmp_path.iterdir()}
    assert draw(tmp_path, tmp_path / "network-snapshot-000100.pkl") == 2
    error = capsys.readouterr().err
    says = r"error: .*network-snapshot-000100.pkl: not opened for safety: it names pathlib.*\.Path"
    assert re.match(says, error) and error.count("\n") == 1
    assert {*tmp_path.iterdir()} == before


def test_missing_weights_are_refused_in_one_line(tmp_path: Path, capsys) -> None:
    plain = interop.read(GOLDEN / "ckpt.pth")[0]
    del plain["norm_out.bias"]
    torch.save(plain, tmp_path / "model.ckpt")
    (tmp_path / "bare.yml").touch()
    before = {*tmp_path.iterdir()}
    assert draw(tmp_path, tmp_path / "model.ckpt", side=16) == 2
    error = capsys.readouterr().err
    assert "these weights do not fit the network: 1 missing (norm_out.bias)" in error
    assert error.count("error:") == 1 and {*tmp_path.iterdir()} == before


def test_our_own_safetensors_bring_the_config_beside_them(tmp_path: Path, capsys) -> None:
    options = {"image_size": 8, "in_channels": 3, "out_ch": 3, "ch": 8, "ch_mult": [1]}
    options |= {"num_res_blocks": 1, "attn_resolutions": []}
    network = build("ncsnpp", **options)
    folder = tmp_path / "exported"
    folder.mkdir()
    plain = {key: value.contiguous() for key, value in network.state_dict().items()}
    save_file(plain, folder / "model.safetensors", {"average": "ema 0.99", "step": "70"})
    section = ", ".join(f"{key}: {value}" for key, value in options.items())
    text = BARE % (8, 3) + f"model: {{name: ncsnpp, {section}}}\ndiffusion: {{process: vpsde}}\n"
    (folder / "config.yml").write_text(text)
    for source in (folder, folder / "model.safetensors"):
        words = ["--use_pretrained", str(source), "--exp", str(tmp_path), "--device", "cpu", "--ni"]
        more = ["--sample", "--images", "--n_samples", "2", "--timesteps", "3", "-i", source.name]
        assert main([*words, *more]) == 0
        record = tmp_path / "image_samples" / source.name / "samples.json"
        recipe = json.loads(record.read_text())["recipe"]
        assert (recipe["average"], recipe["training_step"]) == ("ema 0.99", 70)
    (folder / "model.safetensors").write_bytes(b"no")
    assert main([*words, *more]) == 2
    assert "model.safetensors: damaged" in capsys.readouterr().err
