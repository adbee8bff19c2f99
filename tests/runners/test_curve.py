"""Curves: every snapshot once, runs grouped by what they learn by, the images for equal quality."""

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
from scipy.special import stdtrit

from main import main
from runners import report
from runners.record.sweep_folder import load
from runners.report.convergence import ABOVE, BELOW, EXACT, Curve, converged, ratios_of, reach
from runners.report.convergence_section import sentence
from runners.report.convergence_tables import ratios as ratio_table
from runners.report.load_sweeps import load_sweeps
from runners.report.schemes import schemes
from runners.report.wording import images as images_of
from tests.commands import TINY
from tests.sweeps import line, sweep

IMAGES = np.array([100.0, 200.0, 400.0, 800.0, 1600.0])


# ---- the command


@pytest.fixture(scope="module")
def exp(tmp_path_factory) -> Path:
    """Runs a-0 and a-1 of one scheme, b of another with larger batches, `held` of other data."""
    folder = tmp_path_factory.mktemp("exp")
    runs = {
        "a-0": ["--seed", "0"],
        "a-1": ["--seed", "1"],
        "b": ["--training.batch_size", "24", "--loss.skip", "4"],
        "held": ["--data.holdout", "0.3"],
    }
    for doc, more in runs.items():
        words = ["--exp", str(folder), "--doc", doc, "--training.n_iters", "3", *more]
        assert main([*TINY, *words, "--training.snapshot_freq", "1"]) == 0
    (folder / "logs/empty").mkdir()
    shutil.copy(folder / "logs/b/config.yml", folder / "logs/empty")
    shutil.copytree(folder / "logs/b", folder / "logs/a-9.20260101-101010")  # moved aside
    return folder


def words(exp: Path, docs: str, *more: str) -> list[str]:
    sampling = ["--timesteps", "2", "--n_samples", "8", "--evaluation.metrics", "[distance]"]
    where = ["--exp", str(exp), "--device", "cpu", "--ni"]
    return [*where, "--curve", "--docs", docs, *sampling, *more]


@pytest.fixture
def written(monkeypatch) -> list[tuple]:
    calls: list[tuple] = []
    monkeypatch.setattr(report, "write", lambda *given: calls.append(given) or [])
    return calls


@pytest.mark.slow
def test_every_snapshot_once_and_again_nothing(exp: Path, written) -> None:
    assert main(words(exp, "a-*,b", "--snapshots", "1,3")) == 0
    folder = exp / "sweeps/a-0-curve"
    path = folder / "cells-0-of-1.jsonl"
    found = load(folder)
    expected = [f"{doc}:{step}|ddim@uniform|2|0" for doc in ("a-0", "a-1", "b") for step in (1, 3)]
    assert [cell.key for cell in found.cells] == expected  # nothing of what was moved aside
    seen = {name: run.images_seen for name, run in found.settings.docs.items()}
    assert seen == {"a-0:1": 12, "a-0:3": 36, "a-1:1": 12, "a-1:3": 36, "b:1": 24, "b:3": 72}
    assert {run.doc for run in found.settings.docs.values()} == {"a-0", "a-1", "b"}
    recipes = [cell.measured.recipe for cell in found.cells]
    assert len({recipe.weights for recipe in recipes}) == 6
    assert [recipe.training_step for recipe in recipes] == [1, 3] * 3
    assert {(recipe.seed, recipe.average) for recipe in recipes} == {(0, "ema 0.9")}
    before = path.read_bytes()
    assert main(words(exp, "a-*,b", "--snapshots", "1,3")) == 0
    assert path.read_bytes() == before
    lines = before.splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:2]) + lines[2][:30])  # as a kill in the midst of the third
    assert main(words(exp, "a-*,b")) == 0  # and two snapshots more than before
    assert path.read_bytes().startswith(b"".join(lines[:2]))
    again = {cell.key: cell.measured.figures for cell in load(folder).cells}
    assert len(again) == path.read_bytes().count(b"\n") == 9
    assert {cell.key: cell.measured.figures for cell in found.cells}.items() <= again.items()
    assert len(written) == 3


@pytest.mark.slow
def test_a_snapshot_has_the_figure_of_a_sweep_of_its_checkpoint(exp: Path, written) -> None:
    snapshot = ["--name", "one", "--sample_type", "deis:1", "--snapshots", "2"]
    assert main(words(exp, "b", *snapshot)) == 0
    same = words(exp, "b", "--name", "two", "--samplers", "deis:1", "--sampling.ckpt_id", "2")
    same[same.index("--curve")] = "--sweep"
    assert main(same) == 0
    (one,), (two,) = (load(exp / "sweeps" / name).cells for name in ("one", "two"))
    assert (one.doc, two.doc) == ("b:2", "b") and one.sampler == "deis:1"
    assert one.measured.recipe == two.measured.recipe
    assert one.measured.figures == two.measured.figures


@pytest.mark.slow
@pytest.mark.parametrize(
    ("docs", "more", "told"),
    [
        ("a-0,c", [], "--doc c: no such run"),
        ("c-*", [], "no run in"),
        ("b,empty", [], "empty holds no snapshot ckpt_STEP.pth; train it first"),
        ("b,held", [], "b:1 and held:1 differ in their training images"),
        ("b", ["--snapshots", "2,7"], "--snapshots 7: "),
        ("b", ["--snapshots", "x"], "'x' should be a whole number"),
        ("b", ["--timesteps", "2,3"], "--timesteps 2,3: --curve takes one"),
        ("b", ["--samplers", "ddim,deis"], "--samplers ddim,deis: --curve takes one"),
        ("b", ["--samplers", "deis", "--eta", "1"], "--eta does not go with --samplers"),
        ("b", ["--nfe", "9"], "--nfe does not go with --curve"),
        ("b", ["--sampling.ckpt_id", "2"], "name checkpoints by --snapshots"),
        ("b", ["--sweep"], "--sweep and --curve are different things to do"),
        ("b", ["--name", "x,y"], "a curve has one name"),
        ("../b*", [], "without .. and without a leading slash"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(exp: Path, capsys, docs, more, told) -> None:
    before = set(exp.rglob("*"))
    capsys.readouterr()
    assert main(words(exp, docs, *more)) == 2
    error = capsys.readouterr().err.partition("error: ")[2]
    assert told in error and error.count("\n") == 1
    assert set(exp.rglob("*")) == before


def test_flags_that_belong_together(capsys) -> None:
    for given, told in (
        (["--curve", "--config", "digits.yml"], "--curve needs --docs"),
        (["--doc", "x", "--snapshots", "1"], "--snapshots needs --curve"),
        (["--doc", "x", "--report", "--curve"], "--curve has no effect with --report"),
    ):
        assert main(given) == 2
        assert told in capsys.readouterr().err


# ---- the arithmetic


def curve(label: str, *values, images=IMAGES) -> Curve:
    rows = np.array(values)
    return Curve(label, tuple(f"{label}-{i}" for i in range(len(rows))), images, rows)


def power(faster: float, *, images=IMAGES) -> np.ndarray:
    return 50 * (images * faster) ** -0.5


def test_reach_takes_the_running_minimum_and_says_what_it_does_not_know() -> None:
    values = np.array([16.0, 8.0, 12.0, 4.0, 4.0])
    levels = np.array([20.0, 16.0, 8.0, math.sqrt(32), 4.0, 3.0])
    images, kinds = reach(IMAGES, values, levels)
    assert images == pytest.approx([100, 100, 200, 400 * math.sqrt(2), 800, 1600])
    assert kinds.tolist() == [BELOW, EXACT, EXACT, EXACT, EXACT, ABOVE]


def test_a_scheme_that_is_twice_as_fast_needs_half_the_images() -> None:
    found = ratios_of(curve("base", power(1)), curve("fast", power(2)))
    assert [ratio.share for ratio in found] == [1, 0.5, 0.25, None]
    assert [ratio.ratio.value for ratio in found] == pytest.approx([2] * 4)
    assert [ratio.images[0] for ratio in found[:3]] == pytest.approx([1600, 800, 400])
    assert [ratio.images[1].value for ratio in found[:3]] == pytest.approx([800, 400, 200])
    assert found[0].level == pytest.approx(50 / 40)
    assert all(ratio.low is None and ratio.high is None for ratio in found)  # one run each


def test_other_snapshots_and_batches_do_not_matter() -> None:
    other = np.geomspace(70, 2000, 7)
    found = ratios_of(curve("base", power(1)), curve("fast", power(3, images=other), images=other))
    assert [ratio.ratio.value for ratio in found] == pytest.approx([3] * 4)


def test_a_quality_that_is_not_reached_gives_a_bound() -> None:
    base, slow = curve("base", power(1)), curve("slow", power(0.25))
    found = {ratio.share: ratio for ratio in ratios_of(base, slow)}
    assert (found[1].images[1].kind, found[1].ratio.kind) == (ABOVE, BELOW)
    assert found[1].ratio.value == pytest.approx(1)  # 1,600 images of each, and not there yet
    assert found[0.25].ratio.kind == EXACT and found[0.25].ratio.value == pytest.approx(0.25)
    assert found[None].ratio.value == pytest.approx(0.25)
    found = {ratio.share: ratio for ratio in ratios_of(slow, curve("fast", power(8)))}
    assert (found[0.25].images[1].kind, found[0.25].ratio.kind) == (BELOW, ABOVE)
    assert found[0.25].ratio.value == pytest.approx(4)  # 400 images, and fewer than 100


def test_the_interval_covers_what_the_runs_spread() -> None:
    spread = (1 / 1.1, 1.0, 1.1)
    base = curve("base", *(power(s) for s in spread))
    fast = curve("fast", *(power(2 * s) for s in spread))
    last, *_, every = ratios_of(base, fast)
    assert last.ratio.value == pytest.approx(2) and every.ratio.value == pytest.approx(2)
    error = np.log(spread).std(ddof=1) * math.sqrt(2 / 3)  # of the log ratio, from 3 runs each
    factor = math.exp(stdtrit(4, 0.975) * error)
    for ratio in (last, every):
        assert ratio.low.value == pytest.approx(2 / factor, rel=0.07)
        assert ratio.high.value == pytest.approx(2 * factor, rel=0.07)
    again = ratios_of(base, fast)[0]
    assert (again.low, again.high) == (last.low, last.high)  # the same every time
    same = ratios_of(curve("base", power(1), power(1)), curve("fast", power(2), power(2)))
    assert (same[0].low.value, same[0].high.value) == pytest.approx((2, 2))
    assert ratios_of(base, curve("one", power(2)))[0].low is None


# ---- the page


def folder_of(tmp_path, schemes_of, *, steps=(10, 20, 40, 80), seeds=(0,)):
    """A sweep of snapshots. schemes_of: doc -> (config, faster)."""
    lines, docs = [], {}
    for doc, (config, faster) in schemes_of.items():
        for step in steps:
            of = config["training"]["batch_size"]
            for seed in seeds:
                value = 500 * (step * of * faster) ** -0.5
                lines.append(line(f"{doc}:{step}", "ddim", 10, seed, value))
            docs[f"{doc}:{step}"] = (doc, step, config)
    folder = sweep(tmp_path / "c", lines)
    meta = json.loads((folder / "sweep.json").read_text())
    for name, (doc, step, config) in docs.items():
        meta["docs"][name] |= {"doc": doc, "training_step": step, "config": config}
        meta["docs"][name]["run"] = f"logs/{doc}"
    (folder / "sweep.json").write_text(json.dumps(meta))
    return folder


def config(seed, times="uniform", batch=100, **more):
    training = {"batch_size": batch, "times": times, "n_iters": 80 + seed, "log_freq": 1 + seed}
    rest = {"loss": {"name": "simple"}, "diffusion": {"process": "vp"}, "comment": f"no. {seed}"}
    return {"seed": seed, "training": training, "data": {"path": f"/here/{seed}"}, **rest, **more}


RUNS = {
    "uniform-0": (config(0), 1.0),
    "uniform-1": (config(1), 1.1),
    "under-0": (config(0, "under:0.5"), 2.0),
    "under-1": (config(1, "under:0.5"), 2.2),
    "big": (config(0, batch=200), 0.5),
}


def test_runs_are_grouped_by_what_they_learn_by_and_named_by_what_is_theirs(tmp_path) -> None:
    found = schemes(load_sweeps([folder_of(tmp_path, RUNS)]).docs)
    assert {scheme.label: list(scheme.runs) for scheme in found} == {
        "uniform": ["uniform-0", "uniform-1"],  # shares every setting with some other
        "training.times under:0.5": ["under-0", "under-1"],
        "training.batch_size 200": ["big"],
    }
    assert [doc.run.images_seen for doc in found[2].runs["big"]] == [2000, 4000, 8000, 16000]


def test_the_page_draws_bands_and_says_how_many_images_are_needed(tmp_path) -> None:
    folder = folder_of(tmp_path, RUNS, seeds=(0, 1))
    (files,) = [report.write([folder], tmp_path / "out", {}, None, None)]
    assert [path.name for path in files][-1] == "curve.json"
    page = (tmp_path / "out/report.html").read_text()
    assert page.count('id="convergence"') == 1 and 'id="verdict"' not in page
    assert "Bands: from its lowest to its highest run." in page
    assert "uniform-0, uniform-1" in page and "5 docs · 20 snapshots" in page
    known = json.loads((tmp_path / "out/curve.json").read_text())
    (setting,) = known["settings"]
    assert setting["baseline"] == "uniform" and known["noise_seeds"] == [0, 1]
    assert [c["images_seen"][-1] for c in setting["curves"]] == [8000, 8000, 16000]
    last = setting["ratios"]["training.times under:0.5"][0]
    assert last["ratio"] == {"value": pytest.approx(2, rel=1e-3), "kind": "exact"}
    assert last["low"]["value"] < 2 < last["high"]["value"]
    slow = setting["ratios"]["training.batch_size 200"]
    assert all(ratio["low"] is None for ratio in slow)
    markdown = (tmp_path / "out/report.md").read_text()
    assert "training.times under:0.5 needs 4k (2.00 times as fast, 95 %: " in markdown
    assert "training.batch\\_size 200 needs 16k (" in markdown or "has not reached" in markdown
    assert "| 1,000 | " in markdown and "No uncertainty can be given" in page


def test_snapshots_that_not_all_runs_have_are_left_out_and_said(tmp_path) -> None:
    folder = folder_of(tmp_path, dict(list(RUNS.items())[:3]))
    path = folder / "cells-0-of-1.jsonl"
    kept = [text for text in path.read_text().splitlines() if '"uniform-1:20|' not in text]
    path.write_text("\n".join(kept) + "\n")
    report.write([folder], tmp_path / "out", {}, None, None)
    page = (tmp_path / "out/report.html").read_text()
    assert "1 snapshot of training.times uniform is left out: not all its runs have it." in page
    speed = converged(load_sweeps([folder]))
    assert speed.settings[0].curves[0].images.tolist() == [1000, 4000, 8000]


def test_one_run_alone_has_no_band_and_no_ratio(tmp_path) -> None:
    folder = folder_of(tmp_path, {"one": (config(0), 1.0)})
    speed = converged(load_sweeps([folder]))
    assert list(ratio_table(speed.settings[0], 2)) == []
    assert sentence(speed) == "one reaches its best FD[classifier]-1617, 5.59, after 8k images."
    report.write([folder], tmp_path / "out", {}, None, None)
    assert "No bands: one run each." in (tmp_path / "out/report.html").read_text()


def test_a_curve_beside_a_sweep_of_ends(tmp_path) -> None:
    curves = folder_of(tmp_path, RUNS)
    ends = sweep(tmp_path / "ends", [line("end", "ddim", 10, 0, 4.0)])
    report.write([curves, ends], tmp_path / "out", {}, None, None)
    page = (tmp_path / "out/report.html").read_text()
    assert page.index('id="convergence"') < page.index('id="verdict"')
    assert "FD[classifier]-1617 4" in page and "20 snapshots" in page
    verdict = page[page.index('id="verdict"') : page.index('id="distance"')]
    assert "4.00" in verdict and "uniform-0:10" not in verdict


def test_images_in_three_digits() -> None:
    given = [1, 640, 999, 1000, 19_200, 999_900, 25_600_000, 1.2e9]
    shown = ["1", "640", "999", "1k", "19.2k", "1M", "25.6M", "1.2G"]
    assert [images_of(n) for n in given] == shown
