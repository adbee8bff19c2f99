"""--interpolation, --inpaint, --img2img: what must be bit-identical is, and bad input is told."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from configs.schema import ConfigError, load
from main import main
from runners.picture.inputs import read_images, read_mask

SIDE = 8
CONFIG = load("digits.yml")


@pytest.fixture(scope="module")
def exp(tmp_path_factory, trained) -> Path:
    """A folder with one trained run, `digits`, and images to edit in `given`."""
    folder = tmp_path_factory.mktemp("exp")
    shutil.copytree(trained, folder, dirs_exist_ok=True)
    random = np.random.default_rng(0)
    for name in ("a", "b", "c"):
        put(folder / f"given/{name}.png", random.integers(0, 256, (SIDE, SIDE), dtype=np.uint8))
    return folder


def put(path: Path, array: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)
    return path


def sample(exp: Path, folder: str, *words: str, code: int = 0) -> Path:
    common = ["--exp", str(exp), "--doc", "digits", "--device", "cpu", "--ni", "--sample"]
    own = "--timesteps" in words or any(word.startswith("rk45") for word in words)
    steps = () if own else ("--timesteps", "6")
    assert main([*common, "-i", folder, *steps, *words]) == code
    return exp / "image_samples" / folder


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def plain(exp: Path, folder: str, count: int, *words: str) -> list[np.ndarray]:
    made = sample(exp, folder, "--images", "--n_samples", str(count), *words)
    return [pixels(made / f"{i}.png") for i in range(count)]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["ddim", "ddpm_noisy", "rk45:1:1"])
def test_ends_of_an_interpolation_are_the_samples_of_their_seeds(exp: Path, kind: str) -> None:
    name, sampler = f"ends_{kind.split(':')[0]}", ["--sample_type", kind]
    between = sample(exp, name, "--interpolation", "--seeds", "5,9", "--points", "4", *sampler)
    for file, seed in (("0.png", "5"), ("3.png", "9")):
        (own,) = plain(exp, f"{name}_{seed}", 1, "--seed", seed, *sampler)
        assert np.array_equal(pixels(between / file), own)
    inner = [pixels(between / f"{k}.png") for k in (1, 2)]
    assert not np.array_equal(*inner)
    assert {p.suffix for p in between.glob("interpolation.*")} == {".png", ".gif", ".webp"}


@pytest.mark.slow
def test_four_seeds_are_the_corners_of_a_grid(exp: Path) -> None:
    made = sample(exp, "four", "--interpolation", "--seeds", "1,2,3,4", "--points", "3")
    for corner, seed in (("0_0", 1), ("0_2", 2), ("2_0", 3), ("2_2", 4)):
        (own,) = plain(exp, f"four_{seed}", 1, "--seed", str(seed))
        assert np.array_equal(pixels(made / f"{corner}.png"), own)
    assert len(list(made.glob("?_?.png"))) == 9
    with Image.open(made / "interpolation.webp") as film:
        lasts = []
        for frame in range(film.n_frames):
            film.seek(frame)
            film.load()
            lasts.append(film.info["duration"])
    # once around the edge: at every corner it holds
    assert len(lasts) == 8 and min(lasts[::2]) > 5 * max(lasts[1::2]), lasts


@pytest.mark.slow
def test_two_images_are_encoded_and_come_back(exp: Path, capsys) -> None:
    paths = [str(exp / f"given/{name}.png") for name in "ab"]
    for name in "ab":
        put(exp / f"two/{name}.png", pixels(exp / f"given/{name}.png"))
    errors = []
    for steps, given in (("5", paths), ("40", [str(exp / "two")])):
        words = ["--points", "3", "--timesteps", steps, "--sample_type", "heun"]
        made = sample(exp, f"way{steps}", "--interpolation", "--image", *given, *words)
        assert ("more --timesteps" in capsys.readouterr().err) == (steps == "5")
        told = json.loads((made / "interpolation.json").read_text())["round_trip"]
        assert [t["image"] for t in told] == ["a", "b"]
        off = (pixels(made / "0.png") / 255.0) - (pixels(Path(paths[0])) / 255.0)
        assert told[0]["rmse"] == pytest.approx(np.sqrt((off**2).mean()))
        assert told[0]["max"] == pytest.approx(np.abs(off).max())
        errors.append(told[0]["rmse"])
    assert errors[1] < errors[0] / 4 and errors[1] < 0.03


@pytest.mark.slow
@pytest.mark.parametrize("how", ["replace", "repaint:2:3"])
@pytest.mark.parametrize("mask", ["half", "random:0.4", "brush"])
def test_known_pixels_of_an_inpainting_are_those_of_the_input(exp: Path, mask, how) -> None:
    if mask == "brush":
        array = np.zeros((SIDE, SIDE), np.uint8)
        array[2:5, 3:7] = 255
        mask = str(put(exp / "brush.png", array))
    hole = read_mask(mask, CONFIG.model_copy(update={"seed": 3}))[0].numpy()
    folder = f"{how}{Path(mask).stem}".replace(":", "_")
    words = ["--image", str(exp / "given"), "--mask", mask, "--fills", "2", "--fill", how]
    made = sample(exp, folder, "--inpaint", *words, "--seed", "3")
    for name in "abc":
        given = pixels(exp / f"given/{name}.png")
        fills = [pixels(made / f"{name}_{f}.png") for f in range(2)]
        for fill in fills:
            assert np.array_equal(fill[~hole], given[~hole])
            assert not np.array_equal(fill[hole], given[hole])
        assert not np.array_equal(*fills)
    assert (made / "inpaint.png").exists()


def test_a_fill_does_not_depend_on_what_the_hole_hides_or_on_how_many_there_are(exp: Path) -> None:
    given = pixels(exp / "given/a.png").copy()
    given[:, SIDE // 2 :] = 255 - given[:, SIDE // 2 :]
    other = put(exp / "other/a.png", given)
    words = ["--inpaint", "--mask", "half", "--fill", "repaint:2:2"]
    one = sample(exp, "seen", *words, "--fills", "3", "--image", str(exp / "given/a.png"))
    two = sample(exp, "unseen", *words, "--fills", "1", "--image", str(other))
    assert np.array_equal(pixels(one / "a_0.png"), pixels(two / "a_0.png"))


@pytest.mark.slow
def test_the_same_fill_is_recorded_the_same_however_it_is_typed(exp: Path) -> None:
    words = ["--inpaint", "--mask", "half", "--fills", "1", "--image", str(exp / "given/a.png")]
    words += ["--timesteps", "3"]
    for how in ([], ["--fill", "repaint:2:10"]):
        made = sample(exp, "typed", *words, *how)  # refused where it is another one
    recipe = json.loads((made / "samples.json").read_text())["recipe"]
    assert recipe["picture"]["fill"] == "repaint:2:10"


ROUNDED = {
    "0.05": "WARNING --strength 0.05 of 6 steps: no step: the images are as they were",
    "0.95": "WARNING --strength 0.95 of 6 steps: all steps, from the prior: nothing of",
    "0.5": "INFO --strength 0.5 of 6 steps: from t = 333, 0.56 image + 0.83 noise; 3 of 6 steps",
    "1": "INFO --strength 1 of 6 steps: all steps, from the prior",
}


@pytest.mark.slow
@pytest.mark.parametrize("strength", ROUNDED)
def test_where_a_strength_begins_is_told_and_rounding_warned_of(
    exp: Path, strength, capsys
) -> None:
    words = ["--img2img", "--image", str(exp / "given/a.png"), "--strength", strength]
    sample(exp, f"rounded{strength}", *words)
    assert ROUNDED[strength] in capsys.readouterr().err


@pytest.mark.slow
def test_strength_0_returns_the_input_and_strength_1_ignores_it(exp: Path) -> None:
    words = ["--img2img", "--image", str(exp / "given"), "--strength"]
    made = {s: sample(exp, f"strength{s}", *words, s) for s in ("0", "0.5", "1")}
    samples = plain(exp, "plain", 3)
    for name, own in zip("abc", samples, strict=True):
        given = pixels(exp / f"given/{name}.png")
        half = pixels(made["0.5"] / f"{name}.png")
        assert np.array_equal(pixels(made["0"] / f"{name}.png"), given)
        assert np.array_equal(pixels(made["1"] / f"{name}.png"), own)
        assert not np.array_equal(half, given) and not np.array_equal(half, own)
    before = np.stack([pixels(exp / f"given/{n}.png") for n in "abc"])
    near = np.stack([pixels(sample(exp, "near", *words, "0.17") / f"{n}.png") for n in "abc"])
    far = np.stack([pixels(made["0.5"] / f"{n}.png") for n in "abc"])
    assert np.abs(near - before.astype(float)).mean() < np.abs(far - before.astype(float)).mean()


def test_a_folder_belongs_to_its_images_and_mask(exp: Path, capsys) -> None:
    words = ["--img2img", "--strength", "0.5", "--image"]
    made = sample(exp, "own", *words, str(exp / "given/a.png"))
    first = pixels(made / "a.png")
    assert np.array_equal(
        pixels(sample(exp, "own", *words, str(exp / "given/a.png")) / "a.png"), first
    )
    sample(exp, "own", *words, str(exp / "given/b.png"), code=2)
    assert "holds samples made otherwise" in capsys.readouterr().err


REFUSED = [
    (["--inpaint", "--mask", "center", "--sample_type", "deis:2"], "answers of earlier steps"),
    (["--inpaint", "--mask", "center", "--sample_type", "rk45"], "rk45 chooses its own steps"),
    (["--inpaint", "--mask", "center", "--fill", "repaint:6"], "at least 7, not 6"),
    (["--inpaint", "--mask", "none.png"], "should be center, half"),
    (["--img2img", "--strength", "0.2", "--sample_type", "deis:3"], "the last 1 steps of uniform"),
    (["--interpolation"], "needs two images, not 1"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("words", "told"), REFUSED)
def test_what_makes_no_sense_is_refused_before_anything_is_written(
    exp: Path, words, told, capsys
) -> None:
    folder = sample(exp, "refused", *words, "--image", str(exp / "given/a.png"), code=2)
    err = capsys.readouterr().err
    assert told in err and err.count("error:") == 1 and "Traceback" not in err
    assert not folder.exists()


@pytest.mark.parametrize("kind", ["ddpm_noisy", "rk45", "gddim:lam=1"])
def test_images_are_encoded_for_deterministic_plans_only(exp: Path, kind: str, capsys) -> None:
    paths = [str(exp / f"given/{name}.png") for name in "ab"]
    words = ["--interpolation", "--image", *paths, "--sample_type", kind]
    assert not sample(exp, "refused", *words, code=2).exists()
    assert "--interpolation of images" in capsys.readouterr().err


def test_a_square_that_no_sheet_holds_is_refused_before_it_is_drawn(exp: Path, capsys) -> None:
    words = ["--interpolation", "--seeds", "1,2,3,4", "--points", "900"]
    assert not sample(exp, "refused", *words, code=2).exists()
    assert "a square has at most" in capsys.readouterr().err


def test_images_that_do_not_fit_are_told_in_one_line(tmp_path: Path) -> None:
    data = CONFIG.data
    big = put(tmp_path / "big.png", np.zeros((9, SIDE), np.uint8))
    rgb = put(tmp_path / "rgb.png", np.zeros((SIDE, SIDE, 3), np.uint8))
    (tmp_path / "empty").mkdir()
    cut, text = tmp_path / "cut.png", tmp_path / "text.png"
    noise = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE), dtype=np.uint8)
    cut.write_bytes(put(tmp_path / "fine.png", noise).read_bytes()[:80])
    text.write_text("not an image")
    cases = [
        (big, ConfigError, "big.png: 8x9 pixels, L; this model draws 8x8, L"),
        (rgb, ConfigError, "rgb.png: 8x8 pixels, RGB; this model draws 8x8, L"),
        (tmp_path / "no.png", ConfigError, "no.png: no such file or folder"),
        (tmp_path / "empty", ConfigError, "empty: no images in it"),
        (cut, OSError, "cut.png: "),
        (text, OSError, "text.png: is no image that can be read"),
        (tmp_path, ConfigError, "big.png: 8x9"),
    ]
    for path, kind, told in cases:
        with pytest.raises(kind) as caught:
            read_images([path], data)
        assert told in str(caught.value) and "\n" not in str(caught.value)


def test_images_of_a_folder_come_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for name in ("10", "9", "1", "x2", "x10"):
        put(tmp_path / f"one/{name}.png", np.zeros((SIDE, SIDE), np.uint8))
    put(tmp_path / "two/9.png", np.full((SIDE, SIDE), 7, np.uint8))
    (tmp_path / "one/notes.txt").write_text("no image")
    (tmp_path / "one/._1.png").write_text("hidden")
    found = read_images([tmp_path / "one"], CONFIG.data)
    assert [image.name for image in found] == ["1", "9", "10", "x2", "x10"]
    both = read_images([tmp_path / "one", tmp_path / "two"], CONFIG.data)
    assert len({image.name for image in both}) == 6 and int(both[-1].pixels[0, 0, 0]) == 7
    named = read_images([tmp_path / "one/1.png"], CONFIG.data, taken="1")
    assert named[0].name != "1"


def test_masks_are_read_and_refused(tmp_path: Path) -> None:
    brush = np.zeros((SIDE, SIDE), np.uint8)
    brush[1, 2:5] = 200
    for mode in ("L", "RGB", "RGBA", "P", "LA"):
        path = tmp_path / f"{mode}.png"
        Image.fromarray(brush).convert(mode).save(path)
        assert np.array_equal(read_mask(str(path), CONFIG)[0].numpy(), brush == 200)
    assert int(read_mask("center", CONFIG)[0].sum()) == 16
    assert read_mask("half", CONFIG)[0][:, 4:].all()
    assert int(read_mask("random:0.25", CONFIG)[0].sum()) == 16
    assert torch.equal(*(read_mask("random:0.25", CONFIG)[0] for _ in range(2)))
    coloured, clear = np.zeros((2, SIDE, SIDE, 4), np.uint8)
    coloured[0, 0], coloured[..., 3], clear[..., 3] = (255, 0, 0, 255), 255, 100
    cases = {
        "empty": (np.zeros((SIDE, SIDE), np.uint8), "hides no pixel"),
        "full": (np.full((SIDE, SIDE), 255, np.uint8), "hides every pixel"),
        "other": (np.zeros((SIDE, 7), np.uint8), "7x8 pixels; a mask here has 8x8"),
        "coloured": (coloured, "is coloured"),
        "clear": (clear, "has transparent pixels"),
        "deep": (np.zeros((SIDE, SIDE), np.uint16), "a mask is black and white"),
    }
    for name, (array, told) in cases.items():
        path = put(tmp_path / f"{name}.png", array)
        with pytest.raises(ConfigError, match=told):
            read_mask(str(path), CONFIG)
    for text, told in {"middle": "should be center, half", "random:0.001": "hides no"}.items():
        with pytest.raises(ConfigError, match=told):
            read_mask(text, CONFIG)
