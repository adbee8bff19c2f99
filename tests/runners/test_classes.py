"""Conditional models from the command line: training with labels, samples of classes, guidance."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from configs.schema import ConfigError, load
from datasets.transforms import drop_labels
from main import main
from models import build, checkpoint
from runners.machine.processes import Ranks
from runners.measure.by_class import by_class, seen_classes
from runners.model.classes import labels_of
from runners.record.recipe import Recipe
from runners.train.trainer import new_trainer
from tests.commands import TINY, run
from tests.runners.test_training import SMALL

ALONE = Ranks(0, 1, torch.device("cpu"))
CLASSES = ["--data.classes", "true", "--training.label_dropout", "0.3"]
# A normalisation of 32 channels in 32 groups takes every embedding away, so there are 64; networks
# that answer x0 have samples that are not all black and white after a few steps.
SIMPLE = [*TINY, "--loss.name", "simple", "--diffusion.predicts", "x0", "--model.ch", "64"]


BOUND = ["--likelihood", "none"]


def train(exp: Path, doc: str, steps: int, *more: str) -> dict:
    words = [*SIMPLE, *CLASSES, "--exp", str(exp), "--doc", doc, "--training.n_iters", str(steps)]
    assert main([*words, *more]) == 0
    return checkpoint.load(checkpoint.path_of(exp / "logs" / doc, steps))


@pytest.fixture(scope="module")
def exp(tmp_path_factory) -> Path:
    """Runs: c with label dropout, full without, u without classes."""
    exp = tmp_path_factory.mktemp("exp")
    train(exp, "c", 3)
    train(exp, "full", 2, "--training.label_dropout", "0")
    words = ["--exp", str(exp), "--doc", "u", "--training.n_iters", "2"]
    assert main([*SIMPLE, *words]) == 0
    return exp


def sample(exp: Path, doc: str, folder: str, *more: str) -> int:
    words = ["--exp", str(exp), "--doc", doc, "--device", "cpu", "--sample", "-i", folder, "--ni"]
    return main([*words, "--timesteps", "3", *(more or ("--images",))])


def images(exp: Path, folder: str) -> list[np.ndarray]:
    paths = sorted((exp / "image_samples" / folder).glob("*.png"), key=lambda p: int(p.stem))
    return [np.asarray(Image.open(path)) for path in paths]


def record(exp: Path, folder: str) -> dict:
    return json.loads((exp / "image_samples" / folder / "samples.json").read_text())["recipe"]


def test_labels_are_dropped_as_often_as_asked() -> None:
    torch.manual_seed(0)
    labels = torch.arange(20_000) % 10
    dropped = drop_labels(labels, 0.2, 10)
    share = (dropped == 10).float().mean()
    assert abs(share - 0.2) < 0.015  # five deviations
    assert torch.equal(dropped[dropped < 10], labels[dropped < 10])
    assert torch.equal(drop_labels(labels, 0.0, 10), labels)


def test_the_trainer_tells_the_network_its_labels(monkeypatch) -> None:
    keys = [("data.classes", "true"), ("training.label_dropout", "0.5"), ("loss.name", "simple")]
    config = load("digits.yml", [*SMALL, *keys, ("training.micro_batch", "2")])
    trainer, told = new_trainer(config, ALONE), []
    monkeypatch.setattr(
        trainer.network.temb.label, "forward", lambda label: told.append(label) or torch.zeros(1)
    )
    pixels, labels = torch.zeros(4, 1, 8, 8, dtype=torch.uint8), torch.tensor([3, 1, 4, 1])
    for _ in trainer.steps(iter([(pixels, labels)] * 20)):
        pass
    rows = torch.stack(told).view(20, 4)  # two micro-batches of two
    assert set(rows[:, 0].tolist()) == {3, 10} and set(rows[:, 2].tolist()) == {4, 10}
    assert 20 < int((rows == 10).sum()) < 60


@pytest.mark.parametrize("name", ["ddpm", "ncsnpp"])
def test_classes_are_an_embedding_and_nothing_else(name: str) -> None:
    given = {"image_size": 8, "in_channels": 1, "out_ch": 1, "ch": 32, "ch_mult": [1]}
    given |= {"num_res_blocks": 1, "attn_resolutions": []}
    plain, told = build(name, **given).eval(), build(name, **given, num_classes=3).eval()
    extra = {"temb.label.weight"}
    assert told.state_dict().keys() - plain.state_dict().keys() == extra
    torch.nn.init.zeros_(told.temb.label.weight)
    plain.load_state_dict({k: v for k, v in told.state_dict().items() if k not in extra})
    if name == "ncsnpp":  # its last layer begins near zero
        (
            torch.nn.init.normal_(plain.conv_out.weight),
            told.conv_out.load_state_dict(plain.conv_out.state_dict()),
        )
    x, t = torch.randn(2, 1, 8, 8), torch.tensor([3.0, 500.0])
    label = torch.tensor([0, 2])
    assert torch.equal(plain(x, t), told(x, t, label))
    torch.nn.init.normal_(told.temb.label.weight)
    assert not torch.equal(plain(x, t), told(x, t, label))
    one = told(x, torch.tensor([3.0]), label)
    assert one.shape == x.shape
    for wrong, text in [
        (None, "needs labels"),
        (torch.tensor([0, 3]), "label 3 is not in 0..2"),
        (torch.tensor([-1, 0]), "label -1 is not in 0..2"),
        (torch.tensor([0]), "must be int64"),
        (torch.tensor([0.0, 1.0]), "must be int64"),
    ]:
        with pytest.raises(ValueError, match=text):
            told(x, t, wrong)
    with pytest.raises(ValueError, match="unconditional"):
        plain(x, t, label)


def test_a_config_says_the_classes_once() -> None:
    rows = {}
    for dropout in ("0", "0.1"):
        keys = [("data.classes", "true"), ("training.label_dropout", dropout)]
        config = load("digits.yml", [*keys, ("loss.name", "simple")])
        rows[dropout] = config.data.classes, config.model.options["num_classes"], config.no_class
    assert rows == {"0": (10, 10, None), "0.1": (10, 11, 10)}
    assert load("digits.yml").model.options["num_classes"] is None
    folder = [("data.dataset", "FOLDER"), ("data.image_size", "8"), ("data.channels", "1")]
    found = load("digits.yml", [*folder, ("data.classes", "7"), ("loss.name", "simple")])
    assert found.model.options["num_classes"] == 7


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"training.label_dropout": "0.1"}, "training.label_dropout: 0.1 has no effect without"),
        ({"data.classes": "12"}, "12 does not fit DIGITS, which has 10; it should be true"),
        ({"data.dataset": "FOLDER", "data.classes": "true"}, "give their number"),
        ({"data.dataset": "FFHQ", "data.classes": "3"}, "asks for labels, and FFHQ has none"),
        ({"data.classes": "-1"}, "data.classes: -1 is not valid"),
        ({"model.num_classes": "4"}, "4 does not fit data.classes; it should be null"),
        ({"data.classes": "true", "model.num_classes": "4"}, "it should be 10, or left out"),
        ({"sampling.classes": "3"}, "the model has none"),
        ({"sampling.guidance": "2"}, "needs a model with classes"),
        ({"data.classes": "true", "sampling.guidance": "2"}, "label_dropout above 0"),
        ({"data.classes": "true", "sampling.classes": "cat"}, "it should be all, or numbers"),
        ({"sampling.guide": "weak"}, "weak has no effect without guidance"),
        ({"sampling.guide": "weak", "sampling.guidance": "1"}, "has no effect with guidance 1"),
        ({"sampling.guidance": "2:0.8-0.2"}, "it should be a weight, at least 0"),
        ({"sampling.guidance": "2:rescale=1.5"}, "a share from 0 to 1 by which it is scaled back"),
        ({"sampling.guidance": "-2"}, "it should be a"),
    ],
)
def test_what_does_not_go_together_is_refused(keys: dict[str, str], told: str) -> None:
    shape = [("data.image_size", "8"), ("data.channels", "1"), ("loss.name", "simple")]
    with pytest.raises(ConfigError) as caught:
        load("digits.yml", [*shape, *keys.items()])
    assert len(caught.value.lines) == 1 and told in str(caught.value), caught.value.lines


def refused(exp: Path, capsys, *words: str) -> str:
    before = sorted(exp.rglob("*"))
    capsys.readouterr()
    assert main(["--exp", str(exp), "--ni", "--device", "cpu", *words]) == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert sorted(exp.rglob("*")) == before
    return [line for line in error if line.startswith("error:")][0]


SAMPLE = ["--sample", "--images", "-i", "never", "--timesteps", "3"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--doc", "u", "--class", "3"], "--class: sampling.classes: 3 names a class"),
        (["--doc", "u", "--guidance", "2"], "needs a model with classes"),
        (["--doc", "full", "--guidance", "2"], "trained with training.label_dropout above 0"),
        (["--doc", "c", "--class", "3,12"], "no class 12; classes are 0 to 9, the nearest is 9"),
        (["--doc", "c", "--guidance", "2:1-0.5"], "should be a weight"),
        (["--doc", "c", "--guide", "full"], "no effect without guidance"),
        (["--doc", "c", "--guidance", "2", "--guide", "ful"], "did you mean full?"),
        (["--doc", "c", "--guidance", "2", "--guide", "full:7"], "there is ckpt_2.pth"),
        (
            ["--doc", "c", "--guidance", "2", "--guide", "u"],
            "data.classes false, the model with 10",
        ),
        (["--config", "digits.yml", "--doc", "full", "--override=sampling.guidance=2"], "classes"),
    ],
)
def test_refusals_write_nothing(exp: Path, capsys, words: list[str], told: str) -> None:
    assert told in refused(exp, capsys, *words, *SAMPLE)


def test_labels_that_are_not_there_stop_a_training(exp: Path, tmp_path, capsys) -> None:
    for name in ("a", "b"):
        (tmp_path / "data" / name).mkdir(parents=True)
        Image.new("L", (8, 8)).save(tmp_path / "data" / name / "0.png")
    (tmp_path / "flat").mkdir()
    Image.new("L", (8, 8)).save(tmp_path / "flat" / "0.png")
    words = [*SIMPLE, "--doc", "never", "--data.dataset", "FOLDER", "--data.holdout", "0"]
    words += ["--data.image_size", "8", "--data.channels", "1", "--data.classes", "3"]
    for folder, told in (("data", "has 2 classes; it should be 2"), ("flat", "have none")):
        line = refused(exp, capsys, *words, "--data.path", str(tmp_path / folder))
        assert told in line and "data.classes: 3" in line


def test_a_resumed_run_is_the_uninterrupted_one(exp: Path, tmp_path: Path) -> None:
    train(tmp_path, "d", 1)
    resumed = train(tmp_path, "d", 3, "--resume_training")
    whole = checkpoint.load(checkpoint.path_of(exp / "logs/c", 3))
    for name, value in whole["network"].items():
        assert torch.equal(resumed["network"][name], value), name
    held = [json.loads(x) for x in (exp / "logs/c/metrics.jsonl").read_text().splitlines()]
    assert "held_out/loss" in held[-1]
    assert main([*SIMPLE, *CLASSES, "--exp", str(exp), "--doc", "c", "--test", *BOUND]) == 0


def test_an_image_is_a_function_of_its_index_and_its_class(exp: Path) -> None:
    for folder, asked in (("all", None), ("some", "3,5"), ("three", "3"), ("turn", "5,3")):
        more = () if asked is None else ("--class", asked)
        assert sample(exp, "c", folder, "--images", "--n_samples", "12", *more) == 0
    every, some, three, turn = (images(exp, name) for name in ("all", "some", "three", "turn"))
    same = [i for i in range(12) if np.array_equal(some[i], three[i])]
    assert set(range(0, 12, 2)) <= set(same) and len(same) < 12
    assert all(np.array_equal(turn[i], three[i]) for i in range(1, 12, 2))
    assert np.array_equal(every[3], three[3]) and not np.array_equal(every[4], three[4])
    assert [record(exp, name)["classes"] for name in ("all", "some")] == ["all", "3,5"]
    assert "guidance" not in record(exp, "all") and "classes" not in record_of_plain(exp)
    assert labels_of((3, 5), [0, 1, 2, 7]).tolist() == [3, 5, 3, 5]


def record_of_plain(exp: Path) -> dict:
    assert sample(exp, "u", "plain", "--images", "--n_samples", "2") == 0
    return record(exp, "plain")


def test_guidance_stands_in_the_record_and_is_counted(exp: Path, caplog) -> None:
    caplog.set_level("INFO", "skip_step")
    guided = ["--images", "--n_samples", "4", "--guidance", "2:0.2-1e3"]
    assert sample(exp, "c", "guided", *guided) == 0
    found = record(exp, "guided")
    assert (found["guidance"], found["classes"], found["nfe"]) == ("2:0.2-1000", "all", 3)
    assert sample(exp, "c", "guided", "--images", "--n_samples", "4") == 2  # made otherwise
    assert sample(exp, "c", "weak", *guided[:3], "--guidance", "3", "--guide", "full:2") == 0
    found = record(exp, "weak")
    state = checkpoint.load(checkpoint.path_of(exp / "logs/full", 2))
    average = {**state["network"], **state["ema"]["averages"][0]}
    assert found["guide"] == checkpoint.weights_hash(average)
    assert Recipe.from_json(found).to_json() == found
    assert sample(exp, "u", "auto", *guided[:3], "--guidance", "3", "--guide", "u:2") == 0
    assert sample(exp, "u", "none", *guided[:3]) == 0  # away from itself is nowhere
    pairs = zip(images(exp, "auto"), images(exp, "none"), strict=True)
    assert all(np.abs(a.astype(int) - b).max() <= 1 for a, b in pairs)
    assert "classes" not in record(exp, "auto")
    assert sample(exp, "c", "one", *guided[:3], "--guidance", "1") == 0
    assert "guidance" not in record(exp, "one")


@pytest.mark.slow
def test_pictures_of_a_conditional_model(exp: Path) -> None:
    assert sample(exp, "c", "all2", "--images", "--n_samples", "22") == 0
    plain = images(exp, "all2")
    assert sample(exp, "c", "grid", "--grid", "3x2", "--guidance", "1") == 0
    shown = sorted(int(p.stem) for p in (exp / "image_samples/grid").glob("[0-9]*.png"))
    assert shown == [0, 1, 2, 10, 11, 12]  # a row for each of the classes 0, 1, 2
    for index in shown:
        found = np.asarray(Image.open(exp / f"image_samples/grid/{index}.png"))
        assert np.array_equal(found, plain[index])
    assert sample(exp, "c", "seq", "--sequence", "--n_samples", "2", "--frames", "2") == 0
    for index in range(2):
        found = np.asarray(Image.open(exp / f"image_samples/seq/{index}_3.png"))
        assert np.array_equal(found, plain[index])
    assert sample(exp, "c", "between", "--interpolation", "--seeds", "1234,1") == 0
    found = np.asarray(Image.open(exp / "image_samples/between/0.png"))
    assert np.array_equal(found, plain[0])
    source = str(exp / "image_samples/all2/5.png")
    assert sample(exp, "c", "hole", "--inpaint", "--image", source, "--mask", "center") == 0
    assert sample(exp, "c", "anew", "--img2img", "--image", source, "--strength", "0.7") == 0
    for adaptive in (["--guidance", "2"], []):
        words = ["--exp", str(exp), "--doc", "c", "--device", "cpu", "--sample", "--images", "--ni"]
        words += ["--n_samples", "3", "--sample_type", "rk45:1e-1:1e-1", *adaptive]
        assert main([*words, "-i", f"rk45{len(adaptive)}"]) == 0


def test_figures_of_each_class() -> None:
    class Data:
        labels = torch.tensor([0] * 120 + [2] * 120)
        classes = ["cat", "dog", "owl"]

    generator = torch.Generator().manual_seed(0)
    real = torch.randn(240, 3, generator=generator)
    asked = torch.tensor([0, 2]).repeat(110)
    logits = torch.nn.functional.one_hot((torch.arange(220) % 4 == 1).long(), 2).float()
    seen = seen_classes(logits, Data.labels)
    assert seen.unique().tolist() == [0, 2]
    features = torch.randn(220, 3, generator=generator) + 5 * (asked == 2)[:, None]
    found = by_class(asked, features, seen, Data, real)
    cat, owl = found["classes"]["0"], found["classes"]["2"]
    assert (cat["name"], cat["n"], cat["real"], owl["name"]) == ("cat", 110, 120, "owl")
    assert (cat["agreement"], owl["agreement"], found["agreement"]) == (1.0, 0.5, 0.75)
    assert cat["distance"] < 0.2 and abs(owl["distance"] - 75) < 5
    few = by_class(asked[:20], features[:20], None, Data, real)
    assert few["classes"]["0"]["distance"] is None and "agreement" not in few
    assert seen_classes(torch.zeros(4, 1008), Data.labels) is None


@pytest.mark.slow
def test_an_evaluation_holds_figures_by_class(exp: Path) -> None:
    assert sample(exp, "c", "measured", "--fid", "--n_samples", "20", "--class", "1,7") == 0
    found = json.loads((exp / "image_samples/measured/eval.json").read_text())
    assert found["by_class"]["classes"].keys() == {"1", "7"}
    assert found["figures"]["class agreement"] == found["by_class"]["agreement"]
    assert [one["n"] for one in found["by_class"]["classes"].values()] == [10, 10]
    words = ["--exp", str(exp), "--doc", "c", "--device", "cpu", "--sweep", "--ni", "--n_samples"]
    words += ["8", "--samplers", "ddim", "--timesteps", "2"]
    assert main([*words, "--guidance", "2", "--name", "g"]) == 0
    (line,) = (exp / "sweeps/g/cells-0-of-1.jsonl").read_text().splitlines()
    cell = json.loads(line)
    assert (cell["recipe"]["guidance"], cell["recipe"]["nfe"], cell["nfe"]) == ("2", 2, 4.0)
    assert main([*words, "--guidance", "3", "--name", "g"]) == 2  # cells made otherwise


@pytest.mark.slow
def test_two_processes_draw_the_same_images(exp: Path) -> None:
    words = ["--exp", str(exp), "--doc", "c", "--device", "cpu", "--sample", "--images", "--ni"]
    words += ["--timesteps", "3", "--n_samples", "130", "--guidance", "2"]
    assert main([*words, "-i", "alone"]) == 0
    code, output = run(*words, "-i", "two", processes=2)
    assert code == 0, output
    pairs = zip(images(exp, "alone"), images(exp, "two"), strict=True)
    assert all(np.array_equal(a, b) for a, b in pairs)
