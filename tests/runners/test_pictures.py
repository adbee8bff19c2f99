"""Pictures of a model: what lies in the files is what the plain samples are made of."""

from __future__ import annotations

import json
import re
import signal
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from configs.command import locate, parse
from configs.parts import PartError
from configs.schema import ConfigError, load
from configs.values import Count
from datasets import get_dataset
from datasets.base import MemoryDataset
from functions.process import CLD, VP, VPSDE, Blur
from main import main
from models import checkpoint
from runners.diffusion import Diffusion
from runners.measure import evaluate, reference
from runners.picture import (
    PICTURES,
    GridMode,
    Img2ImgMode,
    InpaintMode,
    InterpolationMode,
    Mode,
    SequenceMode,
    Session,
    picture,
    sequence,
)
from runners.picture.levels import levels
from tests.commands import TINY, start, wait_for

SHORT = ["--device", "cpu", "--ni", "--sample", "--timesteps", "5"]


@pytest.fixture(scope="module")
def exp(tmp_path_factory) -> Path:
    """A folder with two trained runs, digits and cld."""
    folder = tmp_path_factory.mktemp("exp")
    values = load("digits.yml").model_dump(mode="json")
    for key in ("in_channels", "out_ch"):
        del values["model"][key]
    values |= {"diffusion": {"process": "cld"}, "loss": {"name": "simple"}}
    values["sampling"]["skip_type"] = "quad"
    (folder / "cld.yml").write_text(json.dumps(values))
    for doc, more in (("digits", []), ("cld", ["--config", str(folder / "cld.yml")])):
        words = ["--exp", str(folder), "--doc", doc, "--training.n_iters", "1"]
        assert main([*TINY, *words, *more]) == 0
    return folder


def words(exp: Path, *more: str, doc: str = "digits") -> list[str]:
    return ["--exp", str(exp), "--doc", doc, *SHORT, *more]


def plan_of(exp: Path, mode: list[str]) -> list[str]:
    """The command that shows its plan, where --device means nothing."""
    typed = [*words(exp, *mode), "--print_plan"]
    at = typed.index("--device")
    return typed[:at] + typed[at + 2 :]


def image(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def samples(exp: Path, folder: str, count: int, *more: str, doc: str = "digits") -> np.ndarray:
    """Plain samples, drawn in other batches."""
    more = ("--images", "-i", folder, "--n_samples", str(count), *more)
    assert main(words(exp, *more, "--sampling.batch_size", "3", doc=doc)) == 0
    return np.stack([image(exp / "image_samples" / folder / f"{i}.png") for i in range(count)])


@pytest.mark.slow
def test_a_sequence_ends_with_the_plain_samples(exp: Path) -> None:
    more = ["--sample_type", "ddpm_noisy"]  # fresh noise in every step
    assert main(words(exp, "--sequence", "--n_samples", "66", "--frames", "4", *more)) == 0
    folder = exp / "image_samples/digits/sequence"
    steps = sorted({int(path.stem.split("_")[1]) for path in folder.glob("*_*.png")})
    assert steps == [0, 1, 3, 5]  # t 800, 600, 200 and -1: nearest to 800, 533, 266 and -1
    last = np.stack([image(folder / f"{i}_5.png") for i in range(66)])  # of two blocks of 64
    assert np.array_equal(last, samples(exp, "ends", 66, *more))
    assert not np.array_equal(image(folder / "0_0.png"), last[0])
    assert len(list(folder.glob("x0/*.png"))) == 4 * 66
    assert np.array_equal(image(folder / "x0/7_5.png"), last[7])  # at clean data, x0 is x


def test_a_sequence_shows_the_clean_estimate(exp: Path) -> None:
    """DDIM's last step to clean data goes to x0: what was seen before it is the sample."""
    assert main(words(exp, "--sequence", "--frames", "99", "--show", "x0", "-i", "x0")) == 0
    folder = exp / "image_samples/x0"
    assert not list(folder.glob("*_*.png")) and len(list(folder.glob("x0/*.png"))) == 6 * 4
    before, after = (image(folder / f"x0/3_{step}.png").astype(int) for step in (4, 5))
    assert abs(before - after).max() <= 1  # drawn in another batch
    assert main(words(exp, "--sequence", "--show", "x", "-i", "only")) == 0
    assert not (exp / "image_samples/only/x0").exists()


def test_frames_are_even_in_time() -> None:
    times = [100.0, 99.0, 98.0, 60.0, 59.0, 31.0, 1.0, 0.0]
    assert sequence.frames_of(times, 4) == [0, 3, 5, 7]
    assert sequence.frames_of(times, 2) == [0, 7]
    for count in range(2, 12):
        shown = sequence.frames_of(times, count)
        assert shown == sorted(set(shown)) and len(shown) == min(count, 8)
        assert shown[0] == 0 and shown[-1] == 7


def test_the_film_and_the_sheet_of_a_sequence(exp: Path, capsys) -> None:
    assert main(words(exp, "--sequence", "-i", "film", "--frames", "3", "--n_samples", "2")) == 0
    assert "2 files" not in capsys.readouterr().err
    folder = exp / "image_samples/film"
    for kind in ("gif", "webp"):
        with Image.open(folder / f"sequence.{kind}") as film:
            assert film.n_frames == 3 and film.info["loop"] == 0
    with Image.open(folder / "sequence.png") as page:
        array = np.asarray(page)
    for row, view in enumerate(("0_{}", "x0/0_{}", "1_{}", "x0/1_{}")):
        for step in (0, 2, 5):
            large = image(folder / f"{view.format(step)}.png").repeat(10, 0).repeat(10, 1)
            found = np.lib.stride_tricks.sliding_window_view(array, (80, 80))
            assert (found[:, :, ::7, ::7] == large[::7, ::7]).all((2, 3)).any(), (row, step)


def test_every_view_of_a_state_has_its_row(exp: Path) -> None:
    more = ["--sequence", "--n_samples", "2", "--frames", "3"]
    assert main(words(exp, *more, doc="cld")) == 0
    folder = exp / "image_samples/cld/sequence"
    with Image.open(folder / "sequence.png") as page:
        assert page.height > 6 * 80  # position, velocity and x0 of two images
    last = np.stack([image(folder / f"{i}_5.png") for i in range(2)])
    assert np.array_equal(last, samples(exp, "plain_cld", 2, doc="cld"))


def test_levels_of_image_and_noise() -> None:
    for t in (0.0, 400.0, 999.0):
        time = torch.tensor(t)
        found = levels(VP(), t)
        assert found == pytest.approx((float(VP().alpha(time)), float(VP().sigma(time))))
    assert levels(VP(), -1.0) == (1.0, 0.0)
    assert levels(VPSDE(), 1.0)[1] == pytest.approx(1.0, abs=1e-4)
    for process in (CLD(), Blur(8)):
        clean, noisy = (levels(process, t) for t in (1e-4, process.t_start))
        assert clean == pytest.approx((1.0, 0.0), abs=0.02)
        assert noisy == pytest.approx((0.0, 1.0), abs=0.02)
    generator = torch.Generator().manual_seed(0)  # against noisy images themselves
    noise = torch.randn(400, 2, 4, 4, generator=generator)
    cld, time = CLD(), torch.full((400,), 0.3)
    x = cld.drop(cld.perturb(torch.zeros(400, 1, 4, 4), time, noise))
    assert levels(cld, 0.3)[1] == pytest.approx(float(x.std()), rel=0.03)


def test_a_walk_without_common_times_is_refused(exp: Path, capsys) -> None:
    more = ["--sequence", "-i", "adaptive", "--sample_type", "rk45"]
    assert main([word for word in words(exp, *more) if word not in ("--timesteps", "5")]) == 2
    assert "--sequence: rk45 gives every image steps of its own" in capsys.readouterr().err
    plan = ["--config", "digits", "--print_plan", "--sample", "--sequence"]
    assert main([*plan, "--sample_type", "rk45"]) == 2
    assert "--sequence: rk45" in capsys.readouterr().err
    assert not (exp / "image_samples/adaptive").exists()


def test_a_grid_holds_the_plain_samples_row_by_row(exp: Path) -> None:
    assert main(words(exp, "--grid", "2x3")) == 0
    folder, plain = exp / "image_samples/digits/grid", samples(exp, "six", 6)
    assert np.array_equal(np.stack([image(folder / f"{i}.png") for i in range(6)]), plain)
    with Image.open(folder / "grid.png") as page:
        array = np.asarray(page)
    top = next(y for y, row in enumerate(array) if row.tolist().count(176) > 200) + 1
    begin = array[top - 1].tolist().index(176) + 1
    for i, small in enumerate(plain):
        y, x = top + i // 3 * 84, begin + i % 3 * 84
        assert np.array_equal(array[y : y + 80 : 10, x : x + 80 : 10], small)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mode", "told"),
    [
        (["--sequence", "--frames", "999", "--timesteps", "500"], "--frames 999: a sheet holds"),
        (["--grid", "2x999"], "--grid 2x999: a sheet holds at most"),
        (["--nearest", "--neighbours", "999"], "--neighbours 999: beside a sample, a sheet"),
    ],
)
def test_what_no_sheet_can_hold_is_refused(exp: Path, capsys, mode: list[str], told: str) -> None:
    assert main(words(exp, *mode, "-i", "large")) == 2
    message = capsys.readouterr().err
    assert told in message and message.count("error:") == 1
    assert not (exp / "image_samples/large").exists()


def test_the_evaluations_beside_those_of_the_walk_are_kept(exp: Path) -> None:
    folder = exp / "image_samples/beside"
    more = ["--n_samples", "1", "--frames", "3", "-i", "beside"]
    assert main(words(exp, "--sequence", *more)) == 0
    recipe = json.loads((folder / "samples.json").read_text())["recipe"]
    assert recipe["nfe"] == 5 and recipe["picture"]["nfe_beside"] == 2  # the last frame is clean
    plan = ["--skip_type", "quad", "--show", "x", "--overwrite"]
    assert main(words(exp, "--sequence", *more, *plan)) == 0
    assert "nfe_beside" not in (folder / "samples.json").read_text()


@pytest.mark.slow
def test_the_evaluations_are_those_of_the_walk_that_is_walked(exp: Path, capsys) -> None:
    assert main(words(exp, "--grid", "1x1", "-i", "one")) == 0
    given = ["--image", str(exp / "image_samples/one/0.png")]
    for strength, nfe in (("0", 0), ("0.4", 2), ("1", 5)):
        mode = [*given, "--img2img", "--strength", strength]
        assert main(words(exp, *mode, "-i", f"walked{strength}")) == 0
        record = json.loads((exp / f"image_samples/walked{strength}/samples.json").read_text())
        assert record["recipe"]["nfe"] == nfe
        capsys.readouterr()
        assert main(plan_of(exp, mode)) == 0
        shown = capsys.readouterr().out
        assert (f"{nfe} network evaluations" if nfe else "no step is walked") in shown
    mode = [*given, "--inpaint", "--mask", "half", "--fill", "repaint:2:3"]
    assert main(words(exp, *mode, "-i", "holes")) == 0
    record = json.loads((exp / "image_samples/holes/samples.json").read_text())["recipe"]
    assert record["nfe"] > 5
    capsys.readouterr()
    assert main(plan_of(exp, mode)) == 0
    assert f"{record['nfe']} network evaluations" in capsys.readouterr().out


class Pixels:
    """Features that are the pixels, so that what is near can be seen."""

    name, hash, dim = "pixels", "0" * 64, 64

    def __call__(self, images):
        return images.flatten(1).float(), None


@pytest.mark.slow
def test_neighbours_are_the_nearest_training_images(exp: Path, monkeypatch) -> None:
    monkeypatch.setattr(evaluate, "extractor_for", lambda *_: Pixels())
    assert main(words(exp, "--nearest", "--n_samples", "3", "--neighbours", "4")) == 0
    folder = exp / "image_samples/digits/nearest"
    record = json.loads((folder / "nearest.json").read_text())
    command = parse.parse(words(exp, "--grid", "1x1"))
    dataset, _ = get_dataset(locate.config_of(command))
    real = dataset.images(range(len(dataset))).flatten(1).double().numpy()
    assert record["searched"] == len(real) and record["extractor"] == "pixels"
    for i, found in enumerate(record["neighbours"]):
        gaps = np.linalg.norm(real - image(folder / f"{i}.png").reshape(1, -1), axis=1)
        assert found["distances"] == pytest.approx(np.sort(gaps)[:4], rel=1e-4)
        assert gaps[found["training_images"]] == pytest.approx(found["distances"], rel=1e-4)
    own = np.linalg.norm(real[:: len(real) // 256, None] - real[None], axis=2)
    usual = record["median_distance_within_training_images"]
    assert usual == pytest.approx(np.median(np.sort(own, 1)[:, 1]), rel=0.02)
    with Image.open(folder / "nearest.png") as page:
        assert page.width > 5 * 80 and page.height > 3 * 80


@pytest.mark.slow
def test_other_training_images_are_other_pictures(exp: Path, monkeypatch, capsys) -> None:
    """Though data.path may be the same: what lies in a folder can change."""
    monkeypatch.setattr(evaluate, "extractor_for", lambda *_: Pixels())
    command = words(exp, "--nearest", "--n_samples", "1", "--neighbours", "1", "-i", "near")
    assert main(command) == 0 and main(command) == 0
    monkeypatch.setattr(Pixels, "hash", "1" * 64)
    capsys.readouterr()
    assert main(command) == 2
    assert "extractor_sha256 000" in capsys.readouterr().err
    monkeypatch.setattr(Pixels, "hash", "0" * 64)
    monkeypatch.setattr(MemoryDataset, "fingerprint", lambda _: "2" * 64)
    assert main(command) == 2
    assert "fingerprint" in capsys.readouterr().err
    monkeypatch.setattr(reference, "KEPT_FEATURES", 9)
    assert main([*command, "--neighbours", "10"]) == 2
    assert "--neighbours 10: only 9 training images" in capsys.readouterr().err


@pytest.mark.slow
def test_the_same_command_finds_its_folder_and_another_is_refused(exp: Path, capsys) -> None:
    one = words(exp, "--sequence", "-i", "own", "--frames", "3", "--n_samples", "1")
    assert main(one) == 0
    before = image(exp / "image_samples/own/0_5.png")
    assert main(one) == 0
    assert np.array_equal(image(exp / "image_samples/own/0_5.png"), before)
    capsys.readouterr()
    for other, told in (
        ([*one, "--frames", "4"], "frames 3, now 4"),
        ([*one, "--n_samples", "2"], "n_samples 1, now 2"),
        ([*one, "--seed", "9"], "seed 1234, now 9"),
        (words(exp, "--images", "-i", "own", "--n_samples", "1"), "picture sequence, now null"),
        (words(exp, "--grid", "1x1", "-i", "own"), "picture sequence, now grid"),
    ):
        assert main(other) == 2
        message = capsys.readouterr().err
        assert told in message and message.count("error:") == 1
    assert main([*one, "--frames", "4", "--overwrite"]) == 0
    assert len(list((exp / "image_samples").glob("own.*"))) == 1


def test_a_failed_picture_leaves_no_folder_behind(exp: Path, tmp_path: Path, capsys) -> None:
    (path,) = (exp / "logs/digits").glob("ckpt_*.pth")
    state = checkpoint.load(path)
    state["ema"]["averages"][0]["conv_out.bias"].fill_(float("nan"))
    checkpoint.save(tmp_path / "nan.pth", state)
    source = ["--use_pretrained", str(tmp_path / "nan.pth"), "--exp", str(tmp_path)]
    for mode in (["--sequence"], ["--grid", "2x2"]):
        assert main([*source, *SHORT, *mode]) == 1
        assert "image 0 is not finite" in capsys.readouterr().err
    assert not list((tmp_path / "image_samples").iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1"])
def test_a_signal_leaves_no_claim_behind(exp: Path, name: str) -> None:
    more = ["--grid", "9x9", "-i", f"stopped/{name}", "--timesteps", "999"]
    folder = exp / "image_samples/stopped" / name
    process = start(*words(exp, *more))
    wait_for(folder / "samples.json", process)
    process.send_signal(getattr(signal, name))
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 75, output
    assert f"{name}: stopped; the same command" in output and "Traceback" not in output
    assert not folder.exists()


def test_a_claim_counts_before_the_first_file(exp: Path, capsys) -> None:
    """Another command may be at work in the folder."""
    folder = exp / "image_samples/claimed"
    folder.mkdir()
    (folder / "samples.json").write_text('{"picture": "sequence"}')
    assert main(words(exp, "--grid", "1x2", "-i", "claimed")) == 2
    assert "holds samples made otherwise" in capsys.readouterr().err


@pytest.mark.parametrize("mode", [["--sequence"], ["--grid", "2x2"], ["--nearest"]])
def test_many_processes_are_refused(exp: Path, mode: list[str]) -> None:
    command = parse.parse(words(exp, *mode))
    with Diffusion(locate.config_of(command), command.options) as diffusion:
        diffusion.ranks = replace(diffusion.ranks, world=2)
        with pytest.raises(ConfigError, match=f"{mode[0]} takes one process"):
            diffusion.sample()


@dataclass(frozen=True)
class Mean(Mode):
    """A mode of a user's own: the mean of some samples, over and over."""

    times: Count = 1

    def draw(self, session: Session) -> list[Path]:
        images = session.samples(session.config.sampling.n_samples)
        mean = images.float().mean(0).round().to(torch.uint8)
        return [session.save(f"mean_{i}.png", mean) for i in range(self.times)]


@pytest.fixture
def own_mode(monkeypatch) -> type[Mean]:
    monkeypatch.setattr(PICTURES, "parts", dict(PICTURES.parts))
    helps = {"": "the mean of n_samples [6] images", "times": "how often"}
    return PICTURES.part("mean", title="Mean", paper="", samples=6, helps=helps)(Mean)


@pytest.mark.slow
def test_a_mode_of_ones_own_is_one_class(exp: Path, own_mode, capsys) -> None:
    assert main(words(exp, "--mean", "--times", "2")) == 0
    folder = exp / "image_samples/digits/mean"
    expected = samples(exp, "meant", 6).astype(np.float32).mean(0).round()
    assert np.array_equal(image(folder / "mean_1.png"), expected)
    assert {path.name for path in folder.iterdir()} == {"mean_0.png", "mean_1.png", "samples.json"}
    recipe = json.loads((folder / "samples.json").read_text())["recipe"]
    assert recipe["picture"] == {"mode": "mean", "n_samples": 6, "times": 2} and recipe["nfe"] == 5
    for more, told in (
        (["--times", "3"], "times 2, now 3"),
        (["--times", "0"], "--times '0' should be a whole number, at least 1"),
        (["--frames", "2"], "--frames needs --sequence"),
    ):
        assert main(words(exp, "--mean", *more)) == 2
        assert told in capsys.readouterr().err
    with pytest.raises(ValueError, match="times 0 is not valid; it should be a whole number"):
        own_mode(times=0)


@pytest.mark.slow
def test_a_mode_is_drawn_without_a_command_line(exp: Path, own_mode, tmp_path: Path) -> None:
    options = replace(
        parse.parse(words(exp, "--grid", "1x1")).options,
        picture=own_mode(),
        image_folder="direct",
    )
    config = load(exp / "logs/digits/config.yml", [("sampling.n_samples", "3")])
    with Diffusion(config, options) as diffusion:
        picture(config, options, diffusion.ranks)
    assert (exp / "image_samples/direct/mean_0.png").exists()


@pytest.mark.parametrize(
    ("facts", "told"),
    [
        ({}, "lacks helps"),
        ({"helps": {"": "a mean"}}, "lacks help for 'times'"),
        ({"helps": {"times": "how often"}}, "lacks help for ''; helps= has"),
        ({"helps": {"": "", "times": ""}, "flag": "size"}, "has the flag size, which is none of"),
    ],
)
def test_a_mode_without_its_facts_cannot_be_registered(facts, told: str) -> None:
    with pytest.raises(
        PartError, match=rf"test_pictures.py:\d+: picture mode 'mean' {re.escape(told)}"
    ):
        PICTURES.part("mean", title="Mean", paper="", **facts)(Mean)
    assert "mean" not in PICTURES


REFUSED = [
    (lambda: GridMode("4"), "--grid 4: should be ROWSxCOLUMNS"),
    (lambda: GridMode("0x2"), "--grid 0x2: should be"),
    (lambda: SequenceMode(show="y"), "show y is not valid; it should be x, x0 or both"),
    (lambda: SequenceMode(frames=1), "frames 1 is not valid; it should be a whole number, at le"),
    (lambda: InterpolationMode(), "needs either --seeds A,B or --image FILE FILE"),
    (lambda: InterpolationMode((1, 2), (Path("a"),)), "needs either --seeds"),
    (lambda: InterpolationMode((1, 2, 3)), "--seeds 1,2,3: should be two or four different seeds"),
    (lambda: InterpolationMode((7, 7)), "--seeds 7,7: should be two or four different seeds"),
    (lambda: InpaintMode(mask="half"), "needs --image PATH"),
    (lambda: InpaintMode((Path("a"),)), "needs --mask, such as center"),
    (lambda: InpaintMode((Path("a"),), "random:1"), "--mask random:1: should be random:P with P"),
    (lambda: InpaintMode((Path("a"),), "random"), "--mask random: should be random:P"),
    (lambda: InpaintMode((Path("a"),), "half", fill="paint"), "--fill paint: should be replace or"),
    (lambda: Img2ImgMode((Path("a"),)), "needs --strength, such as 0.5"),
    (lambda: Img2ImgMode((Path("a"),), 1.5), "strength 1.5 is not valid; it should be a number f"),
]


@pytest.mark.parametrize(("make", "told"), REFUSED)
def test_options_of_a_mode_are_checked_when_it_is_made(make, told: str) -> None:
    with pytest.raises(ValueError, match=re.escape(told)):
        make()
