"""Sweeps: every cell once, whoever does it and whatever happens; the same images as --sample."""

import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from functions.metrics import Moments
from main import main
from runners import report
from runners.measure.reference import Reference, same_size_distance
from runners.record.cells import Cell
from runners.record.recipe import Recipe
from runners.record.sweep_folder import Shard, load
from tests.commands import TINY, run, start, wait_for
from tests.sweeps import flatten

COUNT = 20


@pytest.fixture(scope="module")
def exp(tmp_path_factory) -> Path:
    """Runs a and b of the same data, one of other data and one of another scaling."""
    folder = tmp_path_factory.mktemp("exp")
    runs = {
        "a": [],
        "b": ["--loss.skip", "4", "--seed", "7"],
        "held": ["--data.holdout", "0.3"],
        "scaled": ["--data.rescaled", "false"],
    }
    for doc, more in runs.items():
        words = ["--exp", str(folder), "--doc", doc, "--training.n_iters", "2", *more]
        assert main([*TINY, *words]) == 0
    return folder


@pytest.fixture(autouse=True)
def reported(monkeypatch) -> list[tuple]:
    """Calls of the report; what it writes is looked at elsewhere."""
    calls: list[tuple] = []

    def write(folders, out, runs, images, board, axis):
        calls.append((folders, out, runs, images, board))
        return [out / "report.html"]

    monkeypatch.setattr(report, "write", write)
    return calls


def words(exp: Path, name: str, samplers: str, steps: str | None, *more: str) -> list[str]:
    return [
        *("--exp", str(exp), "--doc", "a", "--device", "cpu", "--ni", "--sweep", "--name", name),
        *("--samplers", samplers, *(["--timesteps", steps] if steps else [])),
        *("--n_samples", str(COUNT), *more),
    ]


def records(exp: Path, name: str) -> list[dict]:
    paths = sorted((exp / "sweeps" / name).glob("cells-*.jsonl"))
    return [json.loads(line) for path in paths for line in path.read_text().splitlines()]


def cells(exp: Path, name: str) -> list[Cell]:
    return load(exp / "sweeps" / name).cells


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def keys(exp: Path, name: str) -> list[str]:
    return [record["cell"] for record in records(exp, name)]


@pytest.mark.slow
def test_every_combination_once(exp: Path, reported, capsys) -> None:
    samplers = "generalized,deis:2@quad,ddim,rk45:0.5:0.5"
    command = words(exp, "all", samplers, "3,5", "--docs", "b", "--seeds", "0,1")
    assert main(command) == 0
    expected = {
        f"{doc}|{where}|{seed}"
        for doc in "ab"
        for where in (
            *("ddim@uniform|3", "ddim@uniform|5", "deis:2@quad|3", "deis:2@quad|5"),
            "rk45:0.5:0.5@uniform|-",
        )
        for seed in (0, 1)
    }
    found = records(exp, "all")
    assert len(found) == len(expected) and {r["cell"] for r in found} == expected
    assert "cell 20/20" in capsys.readouterr().err
    for record in found:
        assert (
            not {"doc", "sampler", "seed", "steps", "clip", "weights"} & record.keys()
        )  # said once
    sweep = load(exp / "sweeps/all")
    for cell in sweep.cells:
        result = cell.measured
        assert result.nfe == (cell.steps or result.nfe) > 2
        assert result.n_samples == COUNT and result.seconds_per_image > 0
        assert f"FD[classifier]-{COUNT}" in result.figures
        assert result.recipe.sampler["clip"] is False
        assert (result.recipe.grid, result.recipe.seed) == (cell.grid, cell.seed)
        assert result.recipe.nfe == (None if cell.steps is None else result.nfe)
        assert (result.sheet is None) == (cell.seed == 1)
        if result.sheet:
            sheet = Image.open(exp / "sweeps/all" / result.sheet)
            assert sheet.size == (8 * 16, 8)
            assert len(result.neighbours) == 8
            assert all(0 <= i < 1617 and d >= 0 for i, d in result.neighbours)
    settings = sweep.settings
    assert settings.metrics["distance"] == f"FD[classifier]-{COUNT}"
    assert {cell.key for cell in settings.plan} == expected and len(settings.plan) == len(expected)
    data = settings.dataset
    assert 0 < data["same_size_distance"] != data["real_halves_distance"] > 0
    assert settings.docs["a"].config["loss"]["skip"] == 9
    assert settings.docs["b"].config["loss"]["skip"] == 4
    assert settings.docs["a"].weights != settings.docs["b"].weights
    ((folders, out, runs, images, board),) = reported
    assert folders == (out,) == (exp / "sweeps/all",)
    assert runs == {doc: exp / "logs" / doc for doc in "ab"}
    assert images([0, 3]).shape == (2, 1, 8, 8)
    assert board == exp / "tensorboard/sweeps/all"


@pytest.mark.slow
def test_a_cell_has_the_images_of_the_same_sampling(exp: Path) -> None:
    assert main(words(exp, "same", "s_pndm@power:2", "4", "--eps_scale", "skip:9")) == 0
    (cell,) = cells(exp, "same")
    sampling = ["--exp", str(exp), "--doc", "a", "--device", "cpu", "--ni", "--sample", "--images"]
    chosen = [
        "--sample_type",
        "s_pndm",
        "--skip_type",
        "power",
        "--eps_scale",
        "skip",
        "--nfe",
        "5",
    ]
    assert main([*sampling, *chosen, "-i", "same", "--n_samples", str(COUNT)]) == 0
    folder = exp / "image_samples/same"
    row = np.hstack([np.asarray(Image.open(folder / f"{i}.png")) for i in range(16)])
    assert np.array_equal(row, np.asarray(Image.open(exp / "sweeps/same" / cell.measured.sheet)))
    found = Recipe.from_json(json.loads((folder / "samples.json").read_text()))
    assert cell.measured.recipe.differs(found) == []
    assert (cell.steps, cell.measured.nfe, cell.measured.recipe.scale) == (4, 5, "skip")


@pytest.mark.slow
def test_resumed_and_enlarged_without_redoing_a_cell(exp: Path, capsys) -> None:
    assert main(words(exp, "grown", "ddim", "3,4")) == 0
    path = exp / "sweeps/grown/cells-0-of-1.jsonl"
    before = path.read_bytes()
    assert main(words(exp, "grown", "ddim", "3,4")) == 0
    assert path.read_bytes() == before
    assert main(words(exp, "grown", "ddim,ipndm:2", "3,5", "--docs", "b", "--seeds", "1234,5")) == 0
    assert path.read_bytes().startswith(before)
    found = keys(exp, "grown")
    assert len(found) == len(set(found)) == 2 * 2 * 2 * 2 + 1
    settings = load(exp / "sweeps/grown").settings
    assert set(settings.docs) == {"a", "b"}
    assert sorted(cell.key for cell in settings.plan) == sorted(found)


@pytest.mark.slow
def test_a_sweep_of_the_version_before_is_carried_on(exp: Path, capsys) -> None:
    command = words(exp, "older", "ddim,rk45:0.5:0.5", None)
    assert main([*command, "--timesteps", "3"]) == 0
    before = load(exp / "sweeps/older")
    flatten(exp / "sweeps/older")
    path = exp / "sweeps/older/cells-0-of-1.jsonl"
    text = path.read_bytes()
    capsys.readouterr()
    assert main([*command, "--timesteps", "3,4", "--sampling.precision", "bf16"]) == 2
    assert "precision fp32, now bf16" in capsys.readouterr().err
    assert main([*command, "--timesteps", "3,4"]) == 0
    assert path.read_bytes().startswith(text) and path.read_bytes().count(b"\n") == 3
    after = load(exp / "sweeps/older")
    assert [cell.key for cell in after.cells[:2]] == [cell.key for cell in before.cells]
    assert [c.measured.figures for c in after.cells[:2]] == [
        c.measured.figures for c in before.cells
    ]
    assert json.loads((exp / "sweeps/older/sweep.json").read_text())["format"] == 2


@pytest.mark.slow
def test_a_cell_that_would_be_drawn_otherwise_now_is_named(exp: Path, capsys) -> None:
    assert main(words(exp, "changed", "ddim", "2,3")) == 0
    path = exp / "sweeps/changed/cells-0-of-1.jsonl"
    first, second = map(json.loads, path.read_text().splitlines())
    first["recipe"]["imports"] = [{"file": "mine.py", "sha256": "ab" * 32}]
    path.write_text("".join(json.dumps(line) + "\n" for line in (first, second)))
    before = contents(exp / "sweeps/changed")
    capsys.readouterr()
    assert main(words(exp, "changed", "ddim", "2,3,4")) == 2
    error = capsys.readouterr().err.partition("error: ")[2]
    assert 'a|ddim@uniform|2|1234: imports [{"file": "mine.py"' in error
    assert "ddim@uniform|3" not in error and error.count("\n") == 1
    assert contents(exp / "sweeps/changed") == before


@pytest.mark.slow
def test_killed_and_resumed(exp: Path, capsys) -> None:
    command = words(exp, "killed", "ddim,f_pndm", "6,7", "--seeds", "0,1,2")
    path = exp / "sweeps/killed/cells-0-of-1.jsonl"
    process = start(*command)
    wait_for(path, process, lines=2)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    whole = path.read_bytes()
    whole = whole[: whole.rfind(b"\n") + 1]
    path.write_bytes(whole + b'{"cell": "a|ddim@unif')  # as a kill in the midst of a line
    assert main(command) == 0
    assert "left unfinished" in capsys.readouterr().err
    assert path.read_bytes().startswith(whole)
    found = keys(exp, "killed")
    assert len(found) == len(set(found)) == 12


@pytest.mark.slow
def test_asked_to_stop(exp: Path) -> None:
    command = words(exp, "stopped", "ddim", "50,60", "--seeds", "0,1,2,3,4,5,6,7")
    process = start(*command)
    wait_for(exp / "sweeps/stopped/cells-0-of-1.jsonl", process, lines=1)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 75, output
    assert "goes on from the finished cells" in output
    assert 1 <= len(keys(exp, "stopped")) < 16


@pytest.mark.slow
def test_shards_are_disjoint_and_together_complete(exp: Path) -> None:
    command = words(exp, "parts", "ddim,ipndm:2", "3,4,5", "--seeds", "0,1")
    for part in ("0/2", "1/2"):
        assert main([*command, "--shard", part]) == 0
        assert len(load(exp / "sweeps/parts").settings.plan) == 12  # of all shards
    first, second = (
        {json.loads(line)["cell"] for line in path.read_text().splitlines()}
        for path in sorted((exp / "sweeps/parts").glob("cells-?-of-2.jsonl"))
    )
    assert len(first) == len(second) == 6 and not first & second
    assert main(command) == 0  # without shards nothing is left to do
    assert len(keys(exp, "parts")) == 12


@pytest.mark.slow
def test_two_jobs_never_fill_the_same_shard(exp: Path, capsys) -> None:
    folder = exp / "sweeps/busy"
    command = words(exp, "busy", "ddim", "3")
    assert main(command) == 0
    held = Shard(folder, (0, 1))
    for more, told in (
        ([], "another job is filling this sweep"),
        (["--shard", "1/2"], "another job divides this sweep otherwise"),
        (["--overwrite"], "is being filled by another job"),
    ):
        assert main([*command, *more]) == 2
        assert told in capsys.readouterr().err
    held.close()
    assert main(command) == 0


@pytest.mark.slow
def test_processes_share_a_cell(exp: Path) -> None:
    assert main(words(exp, "one", "deis:1", "3", "--seeds", "0")) == 0
    code, output = run(*words(exp, "two", "deis:1", "3", "--seeds", "0"), processes=2)
    assert code == 0 and (exp / "sweeps/two/report.html").exists(), output
    one, two = (cells(exp, name)[0].measured for name in ("one", "two"))
    assert two.processes == 2 and two.nfe == 3 and one.recipe == two.recipe
    assert one.figures == pytest.approx(two.figures, rel=1e-5)
    assert [i for i, _ in one.neighbours] == [i for i, _ in two.neighbours]
    first, second = exp / "sweeps/one" / one.sheet, exp / "sweeps/two" / two.sheet
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["--n_samples", "21"], "n_samples 20, now 21"),
        (["--eps_scale", "skip:5"], "scale none, now skip:5"),
        (["--sampling.precision", "bf16"], "precision fp32, now bf16"),
        (["--sampling.clip", "true"], "sampler.clip null, now true"),
        (["--evaluation.kid_subset_size", "9"], "dataset.kid_subset_size 20, now 9"),
        (["--evaluation.kid_subsets", "9"], "dataset.kid_subsets 100, now 9"),
        (["--evaluation.metrics", "[distance,kid:7]"], "dataset.kid_subsets 100, now 7"),
        (["--sampling.ema", "none"], "average ema 0.9, now raw"),
    ],
)  # fmt: skip
def test_another_identity_is_refused(exp: Path, capsys, more: list[str], told: str) -> None:
    if not (exp / "sweeps/mine").exists():
        assert main(words(exp, "mine", "ddim", "2")) == 0
    path = exp / "sweeps/mine/cells-0-of-1.jsonl"
    path.write_bytes(path.read_bytes().partition(b"\n")[0] + b'\n{"cell": "a|dd')  # as of a kill
    before = contents(exp / "sweeps/mine")
    capsys.readouterr()
    for shard in ([], ["--shard", "1/2"]):
        assert main([*words(exp, "mine", "ddim", "2,3"), *more, *shard]) == 2
        error = capsys.readouterr().err.partition("error: ")[2]
        assert told in error and "--overwrite" in error and error.count("\n") == 1
        assert contents(exp / "sweeps/mine") == before


@pytest.mark.slow
def test_cells_of_which_nobody_knows_how_they_were_made(exp: Path, capsys) -> None:
    command = words(exp, "lost", "ddim", "2")
    assert main(command) == 0
    (exp / "sweeps/lost/sweep.json").unlink()
    before = contents(exp / "sweeps/lost")
    capsys.readouterr()
    assert main([*command, "--eps_scale", "skip:5"]) == 2
    error = capsys.readouterr().err.partition("error: ")[2]
    assert "no sweep.json" in error and "--overwrite" in error and error.count("\n") == 1
    assert contents(exp / "sweeps/lost") == before
    assert main([*command, "--eps_scale", "skip:5", "--overwrite"]) == 0
    (cell,) = cells(exp, "lost")
    assert cell.measured.recipe.scale == "skip:5"


def test_the_distance_of_equally_many_real_images() -> None:
    features = torch.randn(50, 3, generator=torch.Generator().manual_seed(1))
    moments = Moments().add(features)

    def distance(count: int, images: int) -> float | None:
        reference = Reference(images, moments.mean, moments.cov, features, 0.0)
        return same_size_distance(reference, count)

    assert distance(51, 99) is None and distance(50, 50) is None
    few, many = distance(10, 50), distance(40, 50)
    assert few is not None and many is not None and 0 < many < few
    assert few == distance(10, 50)
    assert distance(50, 99) == pytest.approx(0, abs=1e-4)  # all that is kept


@pytest.mark.slow
def test_moved_aside_when_told(exp: Path) -> None:
    assert main(words(exp, "again", "ddim", "2")) == 0
    assert main([*words(exp, "again", "ddim", "3"), "--overwrite", "--n_samples", "5"]) == 0
    assert keys(exp, "again") == ["a|ddim@uniform|3|1234"]
    (aside,) = (exp / "sweeps").glob("again.*")
    assert (aside / "cells-0-of-1.jsonl").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("samplers", "steps", "more", "told"),
    [
        ("ddim,f_pndm", "3,9", [], "the cell a, f_pndm, 3 steps: F-PNDM needs at least 4"),
        ("ddim", "2000", [], "the cell a, ddim, 2000 steps: 2000 sampling steps asked"),
        ("dim", "3", [], "--samplers dim: dim is unknown"),
        ("ddim@quat", "3", [], "did you mean quad?"),
        ("rk45:0", None, [], "--samplers rk45:0: rtol"),
        ("ddim", "3", ["--eps_scale", "skip:0"], "it should be a whole number, at least 1"),
        ("ddim@respaced:3+2", "4", [], "--timesteps 4: ddim@respaced:3+2 has 5 steps; add 5 to"),
        ("ddim@respaced:ddim300", None, [], "--samplers ddim@respaced:ddim300: respaced:ddim3"),
        ("rk45", "3", [], "--timesteps has no effect with rk45"),
        ("ddim", "3", ["--n_samples", "3"], "a sweep needs at least 4"),
        ("ddim", "3", ["--evaluation.metrics", "[kid]"], "a sweep ranks by distance; name it too"),
        ("ddim", "3", ["--docs", "held"], "differ in their training images (1617 and"),
        ("ddim", "3", ["--docs", "b,scaled"], "differ in data.rescaled (True and False)"),
        ("ddim", "3", ["--docs", "c"], "--doc c: no such run"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_before_anything_is_drawn(
    exp: Path, capsys, samplers: str, steps: str | None, more: list[str], told: str
) -> None:
    assert main([*words(exp, "never", samplers, steps), *more]) == 2
    error = capsys.readouterr().err.partition("error: ")[2]
    assert told in error and error.count("\n") == 1
    assert not (exp / "sweeps/never").exists()


@pytest.mark.slow
def test_a_grid_that_says_its_own_steps_has_these(exp: Path) -> None:
    assert main(words(exp, "own", "ddim@respaced:2+1,ddim@respaced:ddim4", None)) == 0
    assert keys(exp, "own") == ["a|ddim@respaced:2+1|3|1234", "a|ddim@respaced:ddim4|4|1234"]
    assert main(words(exp, "own", "ddim@respaced:2+1,ddim", "3,4")) == 0
    assert keys(exp, "own")[2:] == ["a|ddim@uniform|3|1234", "a|ddim@uniform|4|1234"]


@pytest.mark.slow
def test_the_report_again_and_two_side_by_side(exp: Path, reported, capsys) -> None:
    for name, steps in (("left", "2"), ("right", "3")):
        if not (exp / "sweeps" / name).exists():
            assert main(words(exp, name, "ddim", steps)) == 0
    reported.clear()
    command = ["--exp", str(exp), "--report", "--name", "left,right"]
    assert main(command) == 0
    ((folders, out, _, images, board),) = reported
    assert folders == (exp / "sweeps/left", exp / "sweeps/right")
    assert out == exp / "reports/left,right" and out.is_dir() and images is not None
    assert board == exp / "tensorboard/reports/left,right"
    reported.clear()
    capsys.readouterr()
    assert main([*command, "--data.dataset", "FOLDER", "--data.path", "nowhere"]) == 0
    assert reported[0][3] is None and "no nearest neighbours" in capsys.readouterr().err
    assert main([*command, "--config", "digits"]) == 0
    assert reported[1][3] is not None
    for more, told in (
        (["--data.pth", "x"], "--data.pth: there is no such key"),
        (["--config", "digitz"], "did you mean digits"),
        (["--config", "digits", "--data.holdout", "2"], "--data.holdout: 2 is not valid"),
    ):
        assert main([*command, *more]) == 2
        assert told in capsys.readouterr().err
    assert len(reported) == 2
    assert main(["--exp", str(exp), "--report", "--name", "lefd"]) == 2
    assert "did you mean left?" in capsys.readouterr().err


@pytest.mark.slow
def test_sweeps_inside_one_another_have_their_own_places(exp: Path, reported) -> None:
    for name in ("x/t", "y/t"):
        assert main(words(exp, name, "ddim", "2")) == 0
        assert reported[-1][1] == exp / "sweeps" / name
        assert reported[-1][4] == exp / "tensorboard/sweeps" / name
