"""Image i is a function of (weights, plan, seed, i); figures and folders tell what they are."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from functions.denoiser import Denoiser
from functions.grids import uniform
from functions.process import VP
from functions.samplers import ddim
from main import main
from models import build, checkpoint
from runners.sampling.blocks import blocks
from runners.sampling.drawer import Drawer
from tests.commands import run, start, wait_for

COUNT = 20
KINDS = {
    "eta0": ["--timesteps", "5"],
    "ddpm": ["--timesteps", "5", "--sample_type", "ddpm_noisy"],
    "pndm": ["--nfe", "6", "--sample_type", "s_pndm", "--skip_type", "power:2"],
    "rk45": ["--sample_type", "rk45:0.3:0.3"],
}


@pytest.fixture(scope="module")
def exp(tmp_path_factory, trained) -> Path:
    """A folder with one trained run, `digits`."""
    return Path(shutil.copytree(trained, tmp_path_factory.mktemp("exp"), dirs_exist_ok=True))


def words_for(exp: Path, folder: str, *more: str) -> list[str]:
    chosen = {"--timesteps", "--nfe", "--sample_type"} & set(more)
    return [
        *("--exp", str(exp), "--doc", "digits", "--device", "cpu", "--ni", "--sample"),
        *(
            "--n_samples",
            str(COUNT),
            "-i",
            folder,
            *(more if chosen else ["--timesteps", "5", *more]),
        ),
    ]


def pictures(exp: Path, folder: str) -> np.ndarray:
    paths = [exp / "image_samples" / folder / f"{i}.png" for i in range(COUNT)]
    assert sum(1 for _ in paths[0].parent.glob("*.png")) == COUNT
    return np.stack([np.asarray(Image.open(path)) for path in paths])


@pytest.fixture(scope="module")
def expected(exp: Path) -> dict[str, np.ndarray]:
    """Samples drawn in batches of 7, by one process."""
    found = {}
    for name, more in KINDS.items():
        words = words_for(exp, f"expected_{name}", "--images", "--sampling.batch_size", "7", *more)
        assert main(words) == 0
        found[name] = pictures(exp, f"expected_{name}")
    assert len(np.unique(found["eta0"], axis=0)) == COUNT
    return found


@pytest.mark.slow
@pytest.mark.parametrize("size", [1, 64])
@pytest.mark.parametrize("name", KINDS)
def test_samples_do_not_depend_on_the_batch(exp: Path, expected, size: int, name: str) -> None:
    folder = f"batch{size}_{name}"
    words = words_for(exp, folder, "--images", "--sampling.batch_size", str(size), *KINDS[name])
    assert main(words) == 0
    assert np.array_equal(pictures(exp, folder), expected[name])


@pytest.mark.slow
@pytest.mark.parametrize("processes", [2, 3])
def test_samples_do_not_depend_on_processes(exp: Path, expected, processes: int) -> None:
    folder = f"processes{processes}"
    code, output = run(*words_for(exp, folder, "--images"), processes=processes)
    assert code == 0, output
    assert np.array_equal(pictures(exp, folder), expected["eta0"])


def test_interrupted_sampling_goes_on_without_repeating_or_skipping(exp: Path, expected) -> None:
    folder = exp / "image_samples/resumed"
    shutil.copytree(exp / "image_samples/expected_eta0", folder)
    for index in (0, 3, 4, 19):
        (folder / f"{index}.png").unlink()
    before = {p.name: p.stat().st_mtime_ns for p in folder.glob("*.png")}
    assert main(words_for(exp, "resumed", "--images")) == 0
    after = {p.name: p.stat().st_mtime_ns for p in folder.glob("*.png")}
    assert {name: after[name] for name in before} == before
    assert np.array_equal(pictures(exp, "resumed"), expected["eta0"])


@pytest.mark.slow
def test_signal_while_sampling_exits_with_75_and_whole_files(exp: Path) -> None:
    words = words_for(exp, "stopped", "--images", "--sampling.batch_size", "1")
    words[words.index("--n_samples") + 1] = "5000"
    process = start(*words)
    wait_for(exp / "image_samples/stopped/9.png", process, lines=0)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 75, output
    files = list((exp / "image_samples/stopped").glob("*"))
    assert len(files) < 5000 and not [p for p in files if p.suffix == ".tmp"]
    for path in files:
        if path.suffix == ".png":
            Image.open(path).load()


def test_a_folder_of_other_samples_is_refused_or_moved_aside(exp: Path, expected, capsys) -> None:
    shutil.copytree(exp / "image_samples/expected_eta0", exp / "image_samples/other")
    words = words_for(exp, "other", "--images", "--seed", "5")
    assert main(words) == 2
    message = capsys.readouterr().err
    assert "seed 1234, now 5" in message and "--overwrite" in message
    assert main([*words, "--overwrite"]) == 0
    assert not np.array_equal(pictures(exp, "other"), expected["eta0"])
    (aside,) = (exp / "image_samples").glob("other.*")
    assert len(list(aside.glob("*.png"))) == COUNT


@pytest.mark.slow
def test_fid_is_named_for_what_it_is(exp: Path, capsys) -> None:
    assert main(words_for(exp, "measured", "--fid", "--features", "classifier")) == 0
    record = json.loads((exp / "image_samples/measured/eval.json").read_text())
    name = f"FD[classifier]-{COUNT}"
    assert record["figures"][name] > 0
    assert name in capsys.readouterr().out
    assert record["recipe"]["nfe"] == record["took"]["nfe"] == 5
    assert record["recipe"]["average"] == "ema 0.9"
    assert record["n_samples"] == COUNT and record["reference"]["images"] > 1000
    # the same figures again from the images on disk, and without any image written
    figures = record["figures"]
    assert main(words_for(exp, "measured", "--fid", "--features", "classifier")) == 0
    again = json.loads((exp / "image_samples/measured/eval.json").read_text())["figures"]
    assert again == pytest.approx(figures, rel=1e-9)
    words = words_for(exp, "unwritten", "--fid", "--features", "classifier", "--no_images")
    assert main(words) == 0
    folder = exp / "image_samples/unwritten"
    assert not list(folder.glob("*.png"))
    unwritten = json.loads((folder / "eval.json").read_text())["figures"]
    assert unwritten == pytest.approx(figures, rel=1e-9)


@pytest.mark.slow
def test_evaluations_of_an_adaptive_solver_are_counted(exp: Path, capsys) -> None:
    words = ["--fid", "--features", "classifier", "--no_images", "--sample_type", "rk45:0.3"]
    assert main(words_for(exp, "counted", *words)) == 0
    record = json.loads((exp / "image_samples/counted/eval.json").read_text())
    recipe, nfe = record["recipe"], record["took"]["nfe"]
    assert recipe["steps"] is None and recipe["nfe"] is None and recipe["sampler"]["rtol"] == 0.3
    assert nfe > 7 and f"{nfe:.1f} network eval" in capsys.readouterr().err


@pytest.mark.slow
def test_a_noise_scale_changes_the_samples_and_is_kept(exp: Path, expected, capsys) -> None:
    assert main(words_for(exp, "scaled_eps", "--images", "--eps_scale", "linear:0,1.1")) == 0
    assert not np.array_equal(pictures(exp, "scaled_eps"), expected["eta0"])
    assert main(words_for(exp, "scaled_eps", "--images")) == 2
    assert "scale linear:b=1.1, now none" in capsys.readouterr().err
    assert main(words_for(exp, "unscaled", "--images", "--eps_scale", "linear:0:1")) == 0
    assert np.array_equal(pictures(exp, "unscaled"), expected["eta0"])


@pytest.mark.slow
def test_figures_do_not_depend_on_processes(exp: Path) -> None:
    words = ["--fid", "--features", "classifier"]
    assert main(words_for(exp, "one", *words)) == 0
    code, output = run(*words_for(exp, "two", *words), processes=2)
    assert code == 0, output
    one, two = (
        json.loads((exp / f"image_samples/{name}/eval.json").read_text())["figures"]
        for name in ("one", "two")
    )
    assert one == pytest.approx(two, rel=1e-6)


@pytest.mark.slow
def test_steps_are_what_was_asked(exp: Path, capsys) -> None:
    words = words_for(exp, "thirty", "--images", "--sampling.n_samples", "1")
    words[words.index("--timesteps") + 1] = "30"
    words[words.index("--n_samples") + 1] = "1"
    assert main(words) == 0
    assert "30 steps, 30 network evaluations" in capsys.readouterr().err


@pytest.mark.slow
def test_respaced_steps_are_those_of_the_sections(exp: Path, capsys) -> None:
    words = words_for(exp, "respaced", "--images", "--skip_type", "respaced:3,2")
    del words[words.index("--timesteps") : words.index("--timesteps") + 2]
    words[words.index("--n_samples") + 1] = "1"
    assert main(words) == 0
    said = capsys.readouterr().err
    assert "respaced:3+2: 5 steps, 5 network evaluations" in said and "asked" not in said
    assert main([*words, "--timesteps", "7", "-i", "respaced7"]) == 2
    said = capsys.readouterr().err
    assert "--timesteps: sampling.timesteps: 7 does not fit skip_type respaced:3+2, which" in said
    assert not (exp / "image_samples/respaced7").exists()


def test_a_checkpoint_alone_is_enough(exp: Path, expected, tmp_path: Path) -> None:
    (path,) = (exp / "logs/digits").glob("ckpt_*.pth")
    alone = tmp_path / "alone.pth"
    shutil.copy(path, alone)
    words = ["--use_pretrained", str(alone), "--exp", str(tmp_path), "--device", "cpu", "--ni"]
    more = ["--sample", "--images", "--n_samples", str(COUNT), "--timesteps", "5"]
    assert main([*words, *more]) == 0
    assert np.array_equal(pictures(tmp_path, "images"), expected["eta0"])


def test_raw_weights_differ_from_the_average(exp: Path, expected) -> None:
    assert main(words_for(exp, "raw", "--images", "--sampling.ema", "none")) == 0
    assert not np.array_equal(pictures(exp, "raw"), expected["eta0"])


@pytest.mark.slow
def test_held_out_loss_of_both_kinds_of_weights(exp: Path, capsys) -> None:
    assert main(["--exp", str(exp), "--doc", "digits", "--test", "--device", "cpu"]) == 0
    out = capsys.readouterr().out
    assert "ema 0.9" in out and "raw" in out and "loss/t_quartile_4" in out
    record = json.loads((exp / "logs/digits/test-3.json").read_text())["losses"]
    assert record["ema 0.9"]["loss"] != record["raw"]["loss"]
    words = ["--exp", str(exp), "--doc", "digits", "--test", "--device", "cpu"]
    assert main([*words, "--sampling.batch_size", "3"]) == 0
    again = json.loads((exp / "logs/digits/test-3.json").read_text())["losses"]
    assert again["raw"]["loss"] == record["raw"]["loss"]
    assert len(list((exp / "logs/digits").glob("test-3.json.*"))) == 1
    kinds = [checkpoint.load(p) for p in (exp / "logs/digits").glob("ckpt_*.pth")]
    assert isinstance(kinds[0]["network"], dict) and torch.is_tensor(
        kinds[0]["ema"]["averages"][0]["conv_in.weight"]
    )


def test_larger_images_do_not_depend_on_the_batch_either(tmp_path: Path) -> None:
    drawn = {}
    net = build("ddpm", image_size=64, ch=32, ch_mult=(1, 1), num_res_blocks=1, attn_resolutions=())
    for size in (1, 5):
        drawer = Drawer(
            Denoiser(net.eval(), VP()),
            ddim(VP(), uniform(VP(), 2)),
            (3, 64, 64),
            seed=1,
            device=torch.device("cpu"),
        )
        drawn[size] = torch.cat([drawer(part) for part in blocks(range(5), size)])
    assert torch.equal(drawn[1], drawn[5])


@pytest.mark.slow
def test_the_reference_does_not_depend_on_processes(exp: Path, tmp_path: Path) -> None:
    found = []
    for processes in (1, 2):
        cache = exp / "fid_stats"
        for path in cache.glob("reference-*"):
            path.unlink()
        words = words_for(exp, f"reference{processes}", "--fid", "--features", "classifier")
        code, output = run(*words, processes=processes)
        assert code == 0, output
        (path,) = cache.glob("reference-*")
        found.append(checkpoint.load(path))
    assert found[0]["split_distance"] == pytest.approx(found[1]["split_distance"], rel=1e-6)
    assert torch.allclose(found[0]["features"], found[1]["features"], atol=1e-4)


@pytest.mark.slow
def test_images_that_are_not_finite_are_refused(exp: Path, tmp_path: Path, capsys) -> None:
    (path,) = (exp / "logs/digits").glob("ckpt_*.pth")
    state = checkpoint.load(path)
    state["ema"]["averages"][0]["conv_out.bias"].fill_(float("nan"))
    checkpoint.save(tmp_path / "nan.pth", state)
    words = ["--use_pretrained", str(tmp_path / "nan.pth"), "--exp", str(tmp_path)]
    more = ["--sample", "--images", "--n_samples", "3", "--timesteps", "2", "--device", "cpu"]
    assert main([*words, *more]) == 1
    assert "image 0 is not finite" in capsys.readouterr().err
    assert not list(tmp_path.rglob("*.png"))


def test_the_scaling_of_the_data_belongs_to_the_checkpoint(exp: Path, expected, capsys) -> None:
    assert main(words_for(exp, "scaled", "--images", "--data.rescaled", "false")) == 0
    assert "its own scaling" in capsys.readouterr().err
    assert np.array_equal(pictures(exp, "scaled"), expected["eta0"])


def test_other_files_of_this_program_are_no_checkpoints(exp: Path, tmp_path: Path, capsys) -> None:
    checkpoint.save(tmp_path / "other.pth", {"n": 3})
    words = ["--config", "digits.yml", "--use_pretrained", str(tmp_path / "other.pth")]
    assert main([*words, "--sample", "--images", "--exp", str(tmp_path)]) == 1
    assert "not a training checkpoint" in capsys.readouterr().err


def test_too_few_samples_for_a_figure_are_refused_before_sampling(exp: Path, capsys) -> None:
    words = words_for(exp, "few", "--fid", "--features", "classifier")
    words[words.index("--n_samples") + 1] = "3"
    assert main(words) == 2
    assert "--n_samples 3" in capsys.readouterr().err
    assert not (exp / "image_samples/few").exists()


def test_fewer_images_leave_the_others_in_another_folder(exp: Path, expected, capsys) -> None:
    folder = exp / "image_samples/fewer"
    shutil.copytree(exp / "image_samples/expected_eta0", folder)
    words = words_for(exp, "fewer", "--images")
    words[words.index("--n_samples") + 1] = "7"
    assert main(words) == 0
    message = capsys.readouterr().err
    assert f"13 images beyond the 7 wanted moved to {folder / 'extra'}" in message
    assert sorted(int(p.stem) for p in folder.glob("*.png")) == list(range(7))
    kept = (folder / "extra/19.png").stat().st_mtime_ns
    assert main(words_for(exp, "fewer", "--images")) == 0
    assert np.array_equal(pictures(exp, "fewer"), expected["eta0"])
    assert (folder / "19.png").stat().st_mtime_ns == kept


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["--test", "--sample", "--use_pretrained"])
def test_weights_are_read_and_hashed_once(exp: Path, monkeypatch, verb: str) -> None:
    calls: list[str] = []
    for name in ("load", "weights_hash"):
        own = getattr(checkpoint, name)

        def counted(given, *more, name=name, own=own):
            calls.append(name)
            return own(given, *more)

        monkeypatch.setattr(checkpoint, name, counted)
    words = ["--exp", str(exp), "--doc", "digits", "--test", "--device", "cpu"]
    if verb != "--test":
        words = words_for(exp, f"once{verb}", "--images")
    if verb == "--use_pretrained":  # the config is inside the file
        words[2:4] = [verb, str(next((exp / "logs/digits").glob("ckpt_*.pth")))]
    assert main(words) == 0
    kinds = 2 if verb == "--test" else 1  # an average and the raw weights
    assert (calls.count("load"), calls.count("weights_hash")) == (1, kinds)
