import csv
import json
import math
import re
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

from configs import papers
from configs.parts import KINDS
from configs.schema.problems import ConfigError
from functions.metrics import METRICS
from main import main
from runners.record.cells import Cell
from runners.record.sweep_folder import Finished, load
from runners.report import citations, hparams, inline_sheets, published, ranking, write
from runners.report.entries import entries
from runners.report.load_sweeps import load_sweeps
from runners.report.loss_by_time import read_by_time
from runners.report.missing_cells import missing
from runners.report.statistics import gain, stat
from runners.report.tables import latex_escape
from runners.report.training_curves import read_curve
from runners.report.verdict import sentence
from tests.sweeps import (
    FID_LABELS,
    LABELS,
    RECIPE,
    flat,
    flat_sweep,
    line,
    place_of,
    sweep,
    write_lines,
)

NAN = math.nan


def product(docs=("a",), samplers=("ddim", "f_pndm"), steps=(10, 20), seeds=(0, 1), **other):
    drift = {"ddim": 100, "f_pndm": 60, "deis": 70}
    return [
        line(d, s, n, seed, 5 + drift[s] / n - i + 0.1 * seed, **other)
        for i, d in enumerate(docs)
        for s in samplers
        for n in steps
        for seed in seeds
    ]


def marked(found):
    shown = entries(found, found.distance)
    return {place: entry.mark for place, entry in shown.items() if entry.mark}


def sheet(folder, name, count=16, size=8, channels=1):
    pixels = np.random.default_rng(0).integers(0, 256, (size, count * size, channels), np.uint8)
    (folder / "sheets").mkdir(exist_ok=True)
    Image.fromarray(pixels[..., 0] if channels == 1 else pixels).save(folder / "sheets" / name)
    return f"sheets/{name}"


def report(folder, out, **given):
    write([folder], out, given.get("training", {}), given.get("images"), given.get("board"))
    return (out / "report.html").read_text(encoding="utf-8")


class Outline(HTMLParser):
    """Open elements, and the addresses the page refers to."""

    VOID = {"meta", "img", "br", "path", "use"}

    def __init__(self, page):
        super().__init__()
        self.open, self.addresses = [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.addresses += [v for k, v in attrs if k in ("src", "href", "xlink:href")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.addresses += [v for k, v in attrs if k in ("src", "href", "xlink:href")]

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag


# Reading a sweep


def test_the_name_of_a_cell_is_written_and_read_in_one_place():
    for cell in (Cell("a", "deis:2", "power:7", 10, 3), Cell("b|c@d", "rk45", "uniform", None, 0)):
        assert Cell.of_key(cell.key) == cell
    for text in ("", "a|ddim|3|0", "a|ddim@uniform|3|x", "ddim@uniform|3|0", "a|d@u||0", None, 3):
        with pytest.raises(ValueError, match=r"is no cell; it should be DOC\|SAMPLER@GRID"):
            Cell.of_key(text)


def test_a_torn_last_line_is_ignored_and_the_last_of_equal_cells_counts(tmp_path, caplog):
    folder = sweep(tmp_path / "s", [line("a", "ddim", 10, 0, 9.0)])
    again = json.dumps(line("a", "ddim", 10, 0, 8.0)) + "\n"
    (folder / "cells-1-of-2.jsonl").write_text(again + '{"cell": "b", "do')
    cells = load(folder).cells
    assert [cell.measured.figures[LABELS["distance"]] for cell in cells] == [8.0]
    assert not caplog.records


def test_no_line_is_read_twice_and_those_of_other_jobs_are_seen(tmp_path, monkeypatch, caplog):
    read, parse = [], Cell.from_json.__func__
    monkeypatch.setattr(
        Cell, "from_json", classmethod(lambda *given: read.append(1) or parse(*given))
    )
    lines = product(steps=(10, 20, 30), seeds=(0, 1, 2))
    folder = sweep(tmp_path / "s", lines[:1])
    settings, mine, other = load(folder).settings, *(folder / f"cells-{i}-of-2.jsonl" for i in "01")
    (folder / "cells-0-of-1.jsonl").rename(mine)
    read.clear()
    found = Finished(folder, settings)
    for count, entry in enumerate(lines[1:], 1):
        assert len(found.read()) == count
        text = json.dumps(entry) + "\n"
        with (other if count % 2 else mine).open("a") as file:
            file.write(text[:40])
            file.flush()
            assert len(found.read()) == count  # half a line is none yet
            file.write(text[40:])
    assert len(found.read()) == len(found.read()) == len(read) == len(lines)
    with other.open("a") as file:
        file.write("damaged\n" + json.dumps(lines[0]) + "\n")
    for _ in range(2):
        assert list(found.read()) == [e["cell"] for e in (*lines[1:], lines[0])]
    assert len(read) == len(lines) + 1
    (record,) = caplog.records  # said once
    assert "cells-1-of-2.jsonl: line 10 is damaged" in record.getMessage()


@pytest.mark.parametrize("damage", [b"{\n", b"\xff\xfe\n", b"[1]\n", b'{"cell": "x"}\n', b"1\n"])
def test_damaged_lines_elsewhere_are_named(tmp_path, caplog, damage):
    folder = sweep(tmp_path / "s", product())
    path = folder / "cells-0-of-1.jsonl"
    path.write_bytes(damage + path.read_bytes())
    assert len(load(folder).cells) == 8
    assert "line 1 is damaged" in caplog.text


@pytest.mark.parametrize(
    "text, words",
    [
        (None, "it has no sweep.json"),
        ("{", "damaged"),
        ('{"format": 7}', "format 7"),
        ("[]", "format None"),
        ('{"format": 1}', "lacks name"),
        ('{"format": 2}', "lacks name"),
    ],
)
def test_a_folder_that_is_no_sweep_is_refused_in_one_line(tmp_path, text, words):
    if text is not None:
        (tmp_path / "sweep.json").write_text(text)
    with pytest.raises(ConfigError, match=words) as caught:
        load(tmp_path)
    assert "\n" not in str(caught.value)


DAMAGED = [
    ({"figures": None}, "figures is null; it should be an object"),
    ({"figures": {"FID": "3"}}, "figures.FID is .3.; it should be a valid number"),
    ({"cell": ["a"]}, "a"),
    ({"nfe": None}, "nfe is null"),
    ({"nfe": NAN}, "nfe is NaN; it should be a finite number"),
    ({"nfe": 10**400}, "nfe is 1000"),
    ({"neighbours": [3]}, "neighbours.0 is 3"),
    ({"neighbours": [[1, None]]}, "neighbours.0.1 is null"),
    ({"neighbours": [[-1, 2.0]]}, "neighbours.0.0 is -1"),
    ({"warnings": "text"}, "warnings is .text."),
    ({"sheet": 7}, "sheet is 7"),
]


@pytest.mark.parametrize(
    "damage, words",
    [
        *DAMAGED,
        ({"cell": "a|ddim@uniform|10|7"}, "has the recipe of another cell"),
        ({"recipe": 3}, "recipe is 3; it should be an object"),
        ({"recipe": {**RECIPE, "seed": "0"}}, "recipe.seed is .0.; it should be a valid integer"),
        ({"recipe": {**RECIPE, "seed": True}}, "recipe.seed is true"),
        ({"recipe": {**RECIPE, "steps": "10"}}, "recipe.steps is .10."),
        ({"recipe": {**RECIPE, "sampler": []}}, "recipe.sampler is"),
        ({"recipe": {"format": 2}}, "it lacks recipe.weights"),
        ({"recipe": {**RECIPE, "format": 3}}, "a recipe of format 3; this program knows 2"),
    ],
)
def test_a_line_with_a_wrong_type_is_named_and_skipped(tmp_path, caplog, damage, words):
    lines = product()
    folder = sweep(tmp_path / "s", lines)
    write_lines(folder, [lines[0], {**lines[1], **damage}, *lines[2:]])
    assert len(load(folder).cells) == 7
    assert re.search(
        f"cells-0-of-1.jsonl: line 2 is damaged and not counted: .*{words}", caplog.text
    )


@pytest.mark.parametrize(
    "damage, words",
    [
        *DAMAGED,
        ({"doc": 3}, "doc is 3"),
        ({"doc": "z"}, "doc z is not in sweep.json"),
        ({"seed": "0"}, "seed is .0."),
        ({"seed": True}, "seed is true"),
        ({"steps": "10"}, "steps is .10."),
        ({"options": []}, "options is"),
    ],
)
def test_a_damaged_line_of_the_version_before_too(tmp_path, caplog, damage, words):
    lines = product()
    folder = flat_sweep(tmp_path / "s", lines)
    write_lines(folder, [flat(lines[0]), {**flat(lines[1]), **damage}, *map(flat, lines[2:])])
    assert len(load(folder).cells) == 7
    assert re.search(f"line 2 is damaged and not counted: .*{words}", caplog.text)


RUN = {"run": "r", "config": {}, "weights": "0e", "weights_sha256": "0e"}


@pytest.mark.parametrize("make", [sweep, flat_sweep])
@pytest.mark.parametrize(
    "damage, words",
    [
        ({"docs": {}}, "docs is empty"),
        ({"docs": []}, "docs is ..; it should be an object"),
        ({"docs": {"a": None}}, "docs.a is null"),
        ({"docs": {"a": {**RUN, "run": None}}}, "docs.a.run is null"),
        ({"docs": {"a": {"run": "r", "weights_sha256": ""}}}, "lacks docs.a.config"),
        (
            {"docs": {"a": {**RUN, "config": {"loss": "l"}}}},
            "docs.a: config.loss is .l., no mapping",
        ),
        ({"metrics": None}, "metrics is null"),
        ({"metrics": {}}, "lacks metrics.distance"),
        ({"metrics": {"distance": 3}}, "metrics.distance is 3"),
        ({"dataset": None}, "dataset is null"),
        ({"dataset": {}}, "lacks dataset.fingerprint"),
        ({"image": None}, "image is null"),
        ({"image": [1, 8]}, "lacks image.2"),
        ({"image": [1, 8, 0]}, "image.2 is 0"),
        ({"plan": "a|b|1|0"}, "plan is"),
        ({"plan": [3]}, "plan.0: 3 is no cell"),
        ({"n_samples": "5"}, "n_samples is"),
    ],
)
def test_a_damaged_sweep_json_is_refused_in_one_line(tmp_path, make, damage, words):
    folder = make(tmp_path / "s", product())
    path = folder / "sweep.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **damage}))
    with pytest.raises(ConfigError, match=f"sweep.json is damaged: .*{words}") as caught:
        load(folder)
    assert "\n" not in str(caught.value)


def test_the_version_before_is_read_into_the_same_shape(tmp_path):
    lines = product(options={"eta": 0.5}) + [line("a", "rk45", None, 0, 3.0, nfe=61.5)]
    plan = [entry["cell"] for entry in lines]
    new = load(sweep(tmp_path / "new", lines, plan=plan, name="s"))
    old = load(flat_sweep(tmp_path / "old", lines, plan=plan, name="s"))
    assert [cell.key for cell in old.cells] == [cell.key for cell in new.cells] == plan
    for one, other in zip(old.cells, new.cells, strict=True):
        assert one.measured.recipe.differs(other.measured.recipe) == []
        assert (one.measured.recipe.imports, one.measured.recipe.process) == (None, None)
        assert one.measured.recipe.source == "a/ckpt_9.pth"
        assert one.measured.figures == other.measured.figures
    assert old.settings.differs(new.settings) == new.settings.differs(old.settings) == []
    assert old.settings.metrics == new.settings.metrics  # the inception score was not named there
    assert old.settings.plan == new.settings.plan
    (tmp_path / "again").mkdir()
    (tmp_path / "again" / "sweep.json").write_text(old.settings.text())
    assert load(tmp_path / "again").settings == old.settings


def test_a_sweep_without_finished_cells_is_refused(tmp_path):
    folder = sweep(tmp_path / "s", [], docs={"a": "simple"})
    assert load(folder).cells == []
    with pytest.raises(ConfigError, match="no finished cell"):
        write([folder], tmp_path / "out", {}, None, None)
    with pytest.raises(ConfigError, match="at least one sweep"):
        write([], tmp_path / "out", {}, None, None)


@pytest.mark.parametrize(
    "other, words",
    [
        ({"n_samples": 5}, "n_samples"),
        ({"image": [3, 8, 8]}, "image shape"),
        ({"dataset": {"fingerprint": "ff"}}, "data"),
    ],
)
def test_sweeps_that_do_not_compare_are_refused(tmp_path, other, words):
    one = sweep(tmp_path / "one", product())
    two = sweep(tmp_path / "two", product(), **other)
    with pytest.raises(ConfigError, match=f"differ in their {words}"):
        load_sweeps([one, two])


# Statistics


def test_mean_and_deviation_are_over_the_finite_seeds():
    found = stat({0: 1.0, 1: 3.0, 2: NAN})
    assert (found.mean, found.n) == (2.0, 2)
    assert found.std == pytest.approx(math.sqrt(2))
    assert found.error == pytest.approx(1.0)
    assert math.isnan(stat({0: 1.0}).std)
    assert math.isnan(stat({0: NAN}).mean)


def test_gain_is_positive_for_a_lower_distance_and_pairs_equal_seeds():
    base, other = stat({0: 10.0, 1: 12.0, 2: 14.0}), stat({0: 9, 1: 11, 2: 12.4})
    found = gain(base, other)
    assert found.percent == pytest.approx(100 * (1 - 10.8 / 12))
    paired = np.array([9 - 9.0, 11 - 10.8, 12.4 - 12.6])  # other - ratio base
    assert found.error == pytest.approx(100 / 12 * paired.std(ddof=1) / math.sqrt(3))
    assert found.reach == pytest.approx(4.302653 * found.error)  # t, two degrees of freedom
    assert found.clear


def test_gain_counts_only_the_seeds_that_both_have():
    base = stat({0: 10.0, 1: 12.0, 2: 30.0})
    found = gain(base, stat({0: 9.0, 1: 11.0, 7: 1.0}))
    assert (found.percent, found.seeds) == (pytest.approx(100 * (1 - 10 / 11)), 2)
    one = gain(base, stat({1: 11.0, 8: 1.0}))
    assert (one.percent, one.known, one.clear) == (pytest.approx(100 / 12), False, False)
    assert gain(base, stat({5: 9.0, 6: 11.0})) is None


def test_gain_of_one_seed_has_no_uncertainty_and_of_nothing_is_none():
    one = gain(stat({0: 4.0}), stat({0: 3.0}))
    assert one.percent == 25
    assert math.isnan(one.error) and not one.clear
    assert gain(stat({0: NAN}), stat({0: 3.0})) is None
    assert gain(stat({0: 0.0}), stat({0: 3.0})) is None


def test_a_budget_counts_evaluations_not_steps(tmp_path):
    found = load_sweeps([sweep(tmp_path / "s", product())])
    # F-PNDM is better at equal steps, but its 10 steps cost 19 evaluations.
    assert [(b, p.sampler, p.nfe) for b, p in ranking.winners(found)] == [
        (10, "ddim", 10),
        (20, "ddim", 20),
        (29, "f_pndm", 29),
    ]
    text = sentence(found)
    assert "10 to 20: ddim (10.05 ± 0.07 with 20)" in text
    assert "29: f_pndm (8.05 ± 0.07 with 29)" in text
    assert marked(found)["a", "f_pndm", 10] == "best"


def test_ties_are_told_by_paired_seeds(tmp_path):
    far = [(20.0, 21.0, 22.0), (20.1, 20.9, 22.1), (19.0, 20.0, 21.0)]
    lines = [
        line("a", sampler, 10, seed, value)
        for sampler, values in zip(("ddim", "deis", "f_pndm"), far, strict=True)
        for seed, value in enumerate(values)
    ]
    found = marked(load_sweeps([sweep(tmp_path / "s", lines)]))
    assert found == {("a", "f_pndm", 10): "best"}  # by about 1 of each seed: no tie
    lines = [entry for entry in lines if Cell.of_key(entry["cell"]).sampler != "f_pndm"]
    two = load_sweeps([sweep(tmp_path / "t", lines)])
    assert sorted(marked(two).values()) == ["best", "tie"]
    assert ", level with d" in sentence(two)


def test_what_is_ranked_is_over_the_seeds_that_all_have(tmp_path):
    # Seed 2 is bad for everyone: without it `deis` would look best, and it was never run with it.
    values = {"ddim": (10.0, 11.0, 30.0), "f_pndm": (11.0, 12.0, 33.0), "deis": (12.0, 13.5)}
    lines = [line("a", s, 10, i, v, nfe=10) for s, of in values.items() for i, v in enumerate(of)]
    found = load_sweeps([sweep(tmp_path / "s", lines)])
    shown = entries(found, found.distance)
    assert [entry.stat.mean for entry in shown.values()] == [10.5, 11.5, 12.75]
    assert [entry.seeds for entry in shown.values()] == ["2 of 3 seeds"] * 2 + ["2 seeds"]
    assert marked(found)["a", "ddim", 10] == "best"
    assert "ddim has the lowest" in sentence(found) and "2 of 3 seeds" in sentence(found)
    page = report(tmp_path / "s", tmp_path / "out")
    assert "over 2 seeds of the sampling noise" in page and page.count("2 of 3 seeds") > 2
    assert "A column is over the seeds that all of it have" in page
    for name in ("report.md", "report.tex"):
        assert "(10, 2 of 3 seeds)" in (tmp_path / "out" / name).read_text(encoding="utf-8")


def test_a_point_of_fewer_seeds_than_its_neighbours_is_marked(tmp_path):
    lines = [e for e in product(samplers=("ddim",)) if place_of(e)[1:] != (20, 1)]
    page = report(sweep(tmp_path / "s", lines), tmp_path / "out")
    assert "over 2 seeds of the sampling noise where a figure says no other number" in page
    assert page.count('<span class="nfe few">1 seed</span>') == 5  # once per metric


def test_docs_without_a_seed_in_common_are_not_ranked(tmp_path):
    one = sweep(tmp_path / "one", product(docs=("a",), samplers=("ddim",), seeds=(0,)))
    two = sweep(tmp_path / "two", product(docs=("b",), samplers=("ddim",), seeds=(1,)))
    for folder in (one, two):
        text = (folder / "cells-0-of-1.jsonl").read_text()
        sheet(folder, "all.png")
        text = text.replace('"sheet": null', '"sheet": "sheets/all.png"')
        (folder / "cells-0-of-1.jsonl").write_text(text)
    found = load_sweeps([one, two])
    assert marked(found) == {} and set(dict(ranking.winners(found)).values()) == {None}
    assert ranking.gains(found, *found.docs) == {}
    assert "not ranked, as no seed is common" in sentence(found)
    write([one, two], tmp_path / "out", {}, None, None)
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    for words in ("one seed each", "nothing is ranked: 10 steps, 20 steps", "no gain", "No front"):
        assert words in page, words
    assert '<span class="best">' not in page and "over 2 seeds" not in page
    assert "in all rows of one seed." in page and ", seed 1 <span" in page
    assert "bold:" not in (tmp_path / "out" / "report.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_what_one_seed_cannot_tell_is_not_counted_as_unclear(tmp_path):
    lines = product(docs=("a", "b"), samplers=("ddim",))
    page = report(sweep(tmp_path / "two", lines), tmp_path / "two" / "out")
    assert "clearly lower in 2, clearly higher in 0" in page
    lines = [e for e in lines if place_of(e) != ("b", 20, 1)]
    page = report(sweep(tmp_path / "some", lines), tmp_path / "some" / "out")
    assert "clearly lower in 1, clearly higher in 0, not known in 1: one seed" in page
    lines = [e for e in lines if place_of(e)[2] == 0]
    page = report(sweep(tmp_path / "one", lines), tmp_path / "one" / "out")
    assert "how clearly is not known: one seed" in page
    assert "clearly" not in page.replace("how clearly", "")


def test_pareto_front_holds_what_nothing_beats(tmp_path):
    values = {(10, 0.1): 9.0, (20, 0.2): 7.0, (30, 0.3): 8.0, (40, 0.4): 7.0, (50, NAN): 1.0}
    lines = [line("a", "ddim", s, 0, d, seconds_per_image=t) for (s, t), d in values.items()]
    found = load_sweeps([sweep(tmp_path / "s", lines)])
    assert [point.steps for point in ranking.pareto(ranking.timed(found.points))] == [10, 20]


@pytest.mark.slow
def test_times_within_their_spread_are_not_told_apart(tmp_path):
    spread = {10: ((1.0, 9.0), (1.2, 9.2)), 20: ((1.1, 9.1), (1.2, 9.2)), 30: ((5.0, 9.5),) * 2}
    lines = [
        line("a", "ddim", steps, seed, distance, seconds_per_image=seconds)
        for steps, cells in spread.items()
        for seed, (seconds, distance) in enumerate(cells)
    ]
    folder = sweep(tmp_path / "s", lines)
    points = ranking.timed(load_sweeps([folder]).points)
    front = ranking.pareto(points)
    assert [p.steps for p in front] == [10]
    assert [p.steps for p in ranking.beside(front, points)] == [20]
    page = report(folder, tmp_path / "out")
    assert "1.10 ± 0.14 s" in page and "20 steps ≈" in page and "30 steps ≈" not in page
    assert "an order within it is no claim" in page
    single = sweep(tmp_path / "t", [entry for entry in lines if place_of(entry)[2] == 0])
    assert "the spread of times and distances is not known" in report(single, tmp_path / "t")


def test_missing_cells_are_those_of_the_incomplete_product(tmp_path):
    lines = [e for e in product(docs=("a", "b")) if place_of(e)[:2] != ("b", 20)]
    lines += [line("a", "rk45", None, seed, 3.0, nfe=61.5) for seed in (0, 1)]
    found = missing(load(sweep(tmp_path / "s", lines)))
    assert sorted(found) == [
        (2, "ddim@uniform on b, 20 steps, seed 0, 1"),
        (2, "f_pndm@uniform on b, 20 steps, seed 0, 1"),
        (2, "rk45@uniform on b, adaptive, seed 0, 1"),
    ]


@pytest.mark.slow
def test_the_plan_says_what_is_missing(tmp_path):
    lines = product(samplers=("ddim",))
    plan = [e["cell"] for e in lines] + [f"a|deis:3@quad|50|{seed}" for seed in (0, 1)]
    plan.append("b|c|rk45@uniform|-|0")  # of a doc that no finished cell is of
    planned = sweep(tmp_path / "s", lines, plan=plan)
    assert missing(load(planned)) == [
        (2, "deis:3@quad on a, 50 steps, seed 0, 1"),
        (1, "rk45@uniform on b|c, adaptive, seed 0"),
    ]
    assert "3 of 7 cells are missing: deis:3@quad" in report(planned, tmp_path / "s" / "out")
    # What only looks incomplete was never asked for.
    assert missing(load(sweep(tmp_path / "t", lines[1:], plan=plan[1:4]))) == []
    old = report(sweep(tmp_path / "old", lines[1:]), tmp_path / "old" / "out")
    assert "1 of 4 cells are missing (a guess from the others" in old


# Several sweeps


def test_labels_name_the_sweep_where_the_doc_alone_would_not_do(tmp_path):
    plain = sweep(tmp_path / "plain", product())
    scaled = sweep(tmp_path / "scaled", product(docs=("b",)), recipe={"scale": "skip"})
    other = sweep(tmp_path / "other", product(docs=("b",)))
    twin = sweep(tmp_path / "more" / "plain", product())
    labels = [[doc.label for doc in load_sweeps([plain, x]).docs] for x in (scaled, other, twin)]
    assert labels == [["plain/a", "scaled/b"], ["a", "b"], ["plain/a", "plain (2)/a"]]
    assert load_sweeps([plain]).samplers == ["ddim", "f_pndm"]


def test_grids_and_clipping_show_in_the_name_where_there_are_several(tmp_path):
    lines = product() + product(samplers=("ddim",), grid="quad")
    clipped = product(docs=("b",), samplers=("ddim",), clip=True)
    folders = [sweep(tmp_path / "s", lines)]
    folders.append(sweep(tmp_path / "t", clipped, recipe={"sampler": {"clip": True}}))
    found = load_sweeps(folders)
    assert found.samplers == [
        *("ddim@uniform", "f_pndm@uniform", "ddim@quad", "ddim@uniform, clipped"),
    ]
    assert [doc.label for doc in found.docs] == ["s/a", "t/b"]


@pytest.mark.slow
def test_old_and_new_sweeps_stand_in_one_report(tmp_path):
    old = flat_sweep(tmp_path / "old", product(docs=("a",)))
    labels = {**LABELS, "mine": "MINE-1617"}
    lines = product(docs=("b",), labels=labels)
    for entry in lines:
        del entry["figures"][LABELS["recall"]]
    new = sweep(tmp_path / "new", lines, metrics=labels)
    for folders in ([old, new], [new, old]):
        found = load_sweeps(folders)
        assert found.metrics[0].name == "distance"
        assert {m.name for m in found.metrics} == {*LABELS, "mine"}
        shown = {m.name: entries(found, m) for m in found.metrics}
        assert {place[0] for place in shown["recall"]} == {"a"}
        assert {place[0] for place in shown["mine"]} == {"b"}
        assert {place[0] for place in shown["is"]} == {"a", "b"}
        assert not any(entry.mark for entry in shown["mine"].values())
        assert "best" in {entry.mark for entry in shown["is"].values()}
        out = tmp_path / "out"
        write(folders, out, {}, None, None)
        page = (out / "report.html").read_text(encoding="utf-8")
        assert '<span class="none">–</span>' in page and "MINE-1617" in page
        table = (out / "report.md").read_text(encoding="utf-8")
        table = table.split("**MINE-1617**")[1].partition("\n\n**")[0]
        assert "is better" not in table and "| a | ddim | - | - |" in table
        rows = list(csv.DictReader((out / "report.csv").open(encoding="utf-8")))
        assert {row["MINE-1617"] for row in rows if row["doc"] == "a"} == {""}
        assert {row["MINE-1617"] for row in rows if row["doc"] == "b"} == {"0.25"}


def test_the_inception_score_is_shown_higher_being_better(tmp_path):
    lines = product(samplers=("ddim", "f_pndm"), steps=(10,), seeds=(0,))
    lines[1]["figures"][LABELS["is"]] = 6.0
    page = report(sweep(tmp_path / "s", lines), tmp_path / "out")
    assert "IS[classifier]-1617: higher is better." in page
    found = load_sweeps([tmp_path / "s"])
    shown = entries(found, next(m for m in found.metrics if m.name == "is"))
    assert {place[1]: entry.mark for place, entry in shown.items()} == {
        "ddim": "",
        "f_pndm": "best",
    }


# The page


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    """A sweep with everything, names that want escaping included, and its page."""
    root = tmp_path_factory.mktemp("full")
    docs = ("plain", "skip & <b>_x")
    lines = product(docs=docs, samplers=("ddim", "f_pndm", "deis"), seeds=(0, 1, 2))
    lines += [line(doc, "rk45", None, 0, 4.0, nfe=61.5) for doc in docs]
    lines[0]["warnings"] = ["grid <quad> has 9 steps"]
    folder = sweep(root / "s", lines, docs=dict(zip(docs, ("simple", "skip"), strict=True)))
    for number, entry in enumerate(e for e in lines if place_of(e)[2] == 0):
        entry["sheet"] = sheet(folder, f"{number}.png")
        entry["neighbours"] = [[i, 1.5 + i] for i in range(8)]
    text = "".join(json.dumps(entry) + "\n" for entry in lines)
    (folder / "cells-0-of-1.jsonl").write_text(text)
    (root / "run").mkdir()
    steps = [{"step": i, "loss": 1 / (i + 1)} for i in range(1000)]
    steps.append({"step": 1000, "held_out/loss": 0.1})
    text = "".join(json.dumps(record) + "\n" for record in steps)
    (root / "run" / "metrics.jsonl").write_text(text + '{"step": 1001, "lo')
    asked = []

    def images(indices):
        asked.append(list(indices))
        return torch.zeros(len(indices), 1, 8, 8, dtype=torch.uint8)

    training = {docs[0]: root / "run"}
    files = write([folder], root / "out", training, images, root / "board")
    page = (root / "out" / "report.html").read_text(encoding="utf-8")
    return {"root": root, "folder": folder, "files": files, "page": page, "asked": asked}


@pytest.mark.slow
def test_the_page_has_every_section_and_needs_nothing_else(full):
    page = full["page"]
    parts = re.findall(r'<section id="(\w+)"', page)
    assert parts == [
        *("verdict", "distance", "time", "gain", "samples", "training", "neighbours"),
        *("provenance", "citations"),
    ]
    outline = Outline(page)
    assert outline.open == []
    outside = [a for a in outline.addresses if not a.startswith(("data:", "#"))]
    assert outside == []
    assert re.findall(r"url\((?!#|data:)[^)]*\)|@import|<script|<link", page) == []
    names = set(re.findall(r' id="([^"]+)"', page))
    assert {a[1:] for a in outline.addresses if a.startswith("#")} <= names
    assert len(re.findall(r' id="([^"]+)"', page)) == len(names)


def test_names_are_escaped_everywhere(full):
    assert "<b>_x" not in full["page"]
    assert "skip &amp; &lt;b&gt;_x" in full["page"]
    assert "grid &lt;quad&gt; has 9 steps (in 1 cell)" in full["page"]


def test_the_page_tells_what_a_reader_needs(full):
    text = re.sub(r"<[^>]+>", " ", full["page"])
    for words in (
        *(
            "NFE 19",
            "NFE 61.5",
            "0e" * 8,
            "cd" * 32,
            "main.py --sweep plain",
        ),
        *("fewer than 50,000", "not the published Inception", "positive means a lower distance"),
        *("4 of 42 cells are missing", "@inproceedings{song2021ddim", "loss.name", "1.5", "8.5"),
    ):
        assert words in text, words
    assert "FID" not in text  # no figure here is one
    assert full["asked"] == [list(range(8))] * 2
    assert full["page"].count("image-rendering:pixelated") == 2


def test_charts_are_inline_and_follow_the_colours_of_the_page(full):
    svgs = re.findall(r'<svg viewBox="[^"]*" class="chart".*?</svg>', full["page"], re.S)
    assert len(svgs) == 8  # five metrics, time, gain, training
    for svg in svgs:
        assert "<text" in svg and "var(--ink)" in svg and "var(--font)" in svg
        assert " width=" not in svg[: svg.index(">")] and "<style" not in svg


@pytest.mark.slow
def test_the_same_cells_make_the_same_files(full, tmp_path):
    report(full["folder"], tmp_path / "a", board=tmp_path / "a" / "board")
    report(full["folder"], tmp_path / "b", board=tmp_path / "b" / "board")
    files = [p.relative_to(tmp_path / "a") for p in (tmp_path / "a").rglob("*") if p.is_file()]
    assert len(files) > 4
    assert all(
        (tmp_path / "a" / f).read_bytes() == (tmp_path / "b" / f).read_bytes() for f in files
    )


def test_one_cell_of_one_seed_with_nothing_beside_it(tmp_path):
    entry = line("a", "ddim", 10, 3, 9.0, sheet="sheets/gone.png", neighbours=[[0, 1.0]])
    page = report(sweep(tmp_path / "s", [entry]), tmp_path / "out")
    assert "ddim reaches FD[classifier]-1617 9.00 with 10" in page
    assert "one seed (3)" in page
    assert "±" not in page.split('id="distance"')[0]
    assert not re.findall(r'<section id="(gain|samples|training|neighbours)"', page)
    Outline(page)


@pytest.mark.slow
@pytest.mark.parametrize(
    "n, dataset, words",
    [
        (1617, {"same_size_distance": 1.234}, "1,617 random real images are <b>1.234</b> from all"),
        (1617, {"same_size_distance": None}, None),  # a half has half as many
        (1617, {"same_size_distance": NAN}, None),
        (800, {}, r"two random halves (808 each) of the real images are <b>2.871</b> apart"),
        (500, {}, None),
    ],
)
def test_the_yardstick_is_of_about_as_many_images(tmp_path, n, dataset, words):
    folder = sweep(tmp_path / "s", product(), n_samples=n)
    path = folder / "sweep.json"
    meta = json.loads(path.read_text())
    meta["dataset"].update(dataset)
    path.write_text(json.dumps(meta))
    page = report(folder, tmp_path / "out")
    assert words in page if words else "Yardstick" not in page
    assert ("2.871" in page) == (n == 800)


def test_the_page_has_all_options_of_every_sampler(tmp_path):
    lines = product(samplers=("deis",), options={"order": 3, "variable": "t"})
    lines += product(samplers=("ddim",), options={})
    page = report(sweep(tmp_path / "s", lines), tmp_path / "out")
    assert "<dt>deis</dt><dd>order=3, variable=t</dd>" in page
    assert "<dt>ddim</dt><dd>none</dd>" in page


def test_captions_explain_bold_and_ties(tmp_path):
    values = {"ddim": (20.0, 21.0, 22.0), "deis": (20.1, 20.9, 22.1)}
    lines = [line("a", s, 10, i, v) for s, of in values.items() for i, v in enumerate(of)]
    report(sweep(tmp_path / "s", lines), tmp_path / "out")
    markdown = (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    assert "bold: the best of its column, whatever it costs; ≈: not told apart" in markdown
    assert re.search(r"\| \d+\.\d+ ± \d\.\d+ ≈ \(10\)", markdown)
    latex = (tmp_path / "out" / "report.tex").read_text(encoding="utf-8")
    assert "bold: the best of its column" in latex and r"$\approx$ \scriptsize(10)" in latex


def test_one_seed_of_two_docs_says_that_there_is_no_uncertainty(tmp_path):
    page = report(sweep(tmp_path / "s", product(docs=("a", "b"), seeds=(0,))), tmp_path / "out")
    assert "no uncertainty: one seed" in page


def test_figures_that_are_no_numbers_are_left_out_and_counted(tmp_path):
    lines = product()
    lines[0]["figures"] = {LABELS["distance"]: NAN}
    lines[1]["figures"] = dict.fromkeys(LABELS.values())
    page = report(sweep(tmp_path / "s", lines), tmp_path / "out")
    assert "2 cells have no finite FD[classifier]-1617" in page
    assert not re.search(r"\bnan\b", page, re.I)
    nothing = [{**entry, "figures": {}, "seconds_per_image": None} for entry in lines]
    page = report(sweep(tmp_path / "t", nothing), tmp_path / "out2")
    assert "No cell has a finite FD[classifier]-1617." in page


@pytest.mark.slow
def test_published_curves_are_drawn_beside_an_fid_of_the_same_data_only(tmp_path):
    def page(name, labels, **dataset):
        lines = product(labels=labels)
        known = {"dataset": "CIFAR10", "fingerprint": "x", "images": 50000, **dataset}
        folder = sweep(tmp_path / name, lines, metrics=labels, dataset=known, image=[3, 32, 32])
        return report(folder, tmp_path / name / "out")

    drawn = page("fid", FID_LABELS, extractor="inception")
    assert "Dotted, published" in drawn and "2202.09778" in drawn and "Ours is FID-10k" in drawn
    assert "stroke-dasharray: 1.3,2.1" in re.sub(r"(\.\d)\d+", r"\1", drawn)
    listed = page("fd", LABELS, extractor="classifier")
    assert "not drawn here" in listed and "13.36 at 10" in listed
    assert "published" not in page("celeba", FID_LABELS, dataset="CELEBA").split("samples per")[0]


def test_published_figures_are_those_of_the_papers():
    shown = published.curves("cifar10", 32, {"ddim"})
    assert [curve.fid[next(iter(curve.fid))] for curve in shown] == [13.36, 7.03, 7.12]
    assert len(published.curves("CIFAR10", 32, {"ddpm"})) == 5
    assert published.curves("CELEBA", 32, set()) == []
    pndm = next(c for c in published.curves("CELEBA", 64, set()) if c.source == "2202.09778")
    assert pndm.fid == {19: 7.71, 29: 5.51, 59: 3.34}  # NFE, not steps


@pytest.mark.slow
def test_many_lines_get_a_chart_per_sampler_and_axes_in_common(tmp_path):
    docs = tuple(f"doc{i}" for i in range(9))
    page = report(sweep(tmp_path / "s", product(docs=docs, seeds=(0,))), tmp_path / "out")
    assert len(re.findall(r"<h3>(ddim|f_pndm)</h3><figure><svg", page)) == 2 * 5
    assert page.count("<details") > 8


def test_strips_shrink_until_they_fit(tmp_path, monkeypatch):
    lines = product(samplers=("ddim",), steps=(10, 20, 30), seeds=(0,))
    folder = sweep(tmp_path / "s", lines, image=[3, 32, 32])
    for entry in lines:
        entry["sheet"] = sheet(folder, f"{place_of(entry)[1]}.png", size=32, channels=3)
    (folder / "cells-0-of-1.jsonl").write_text("".join(json.dumps(e) + "\n" for e in lines))
    points = load_sweeps([folder]).points
    whole = inline_sheets.packed(points, (3, 32, 32))
    assert (whole.columns, whole.lossy, len(whole.sources)) == (16, False, 3)
    monkeypatch.setattr(inline_sheets, "BUDGET", 60_000)
    less = inline_sheets.packed(points, (3, 32, 32))
    assert less.columns < 16 and less.lossy
    assert sum(map(len, less.sources.values())) < sum(map(len, whole.sources.values())) / 4


# Beside the page


def test_csv_has_every_cell_and_figure(full):
    rows = list(csv.DictReader((full["root"] / "out" / "report.csv").open(encoding="utf-8")))
    assert len(rows) == len(load(full["folder"]).cells) == 38
    adaptive = next(row for row in rows if row["sampler"] == "rk45")
    assert (adaptive["steps"], adaptive["nfe"]) == ("", "61.5")
    assert float(rows[0][LABELS["distance"]]) == 15.0
    assert rows[-1]["doc"] == "skip & <b>_x"


def test_markdown_and_latex_escape_names_and_show_nfe(full):
    out = full["root"] / "out"
    markdown = (out / "report.md").read_text(encoding="utf-8")
    tables = [x for x in markdown.splitlines() if x.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in tables} == {6}
    assert r"skip \& \<b\>\_x" in markdown and "**9.05 ± 0.10** (19)" not in markdown
    assert "(19)" in markdown and "**3.00 ± 0.10**" not in markdown
    latex = (out / "report.tex").read_text(encoding="utf-8")
    assert r"skip \& \textless{}b\textgreater{}\_x" in latex and r"$\pm$" in latex
    assert latex.count(r"\begin{table}") == latex.count(r"\bottomrule") == 5
    assert latex_escape(r"a\b^~") == r"a\textbackslash{}b\textasciicircum{}\textasciitilde{}"


def test_tensorboard_has_one_row_per_point_and_no_more_after_another_report(full):
    files = sorted((full["root"] / "board").rglob("events*"))
    found = load_sweeps([full["folder"]])
    assert len(files) == len(found.points) == 14
    assert hparams.write(found, full["root"] / "board")[0] in files
    assert sorted((full["root"] / "board").rglob("events*")) == files
    values = [v for event in EventFileLoader(str(files[0])).Load() for v in event.summary.value]
    plugins = {v.metadata.plugin_data.plugin_name for v in values}
    assert "hparams" in plugins
    assert LABELS["distance"] in {v.tag for v in values}


def test_rows_of_an_earlier_sweep_leave_tensorboard_and_nothing_else_does(tmp_path):
    lines = product() + [line("a", "rk45", None, 0, 4.0, nfe=61.5)]
    folder = tmp_path / "board"
    old = hparams.write(load_sweeps([sweep(tmp_path / "old", lines)]), folder)
    assert not any("None" in str(path.relative_to(folder)) for path in old)
    assert any("rk45-adaptive" in str(path) for path in old)
    (old[-1].parent / "notes").touch()
    (folder / "other").mkdir()
    (folder / "other" / "events.out.tfevents.1.host").touch()
    new = hparams.write(load_sweeps([sweep(tmp_path / "new", product(samplers=("ddim",)))]), folder)
    assert sorted(folder.rglob(hparams.FILE)) == sorted(new) and set(new) < set(old)
    kept = {path.name for path in folder.rglob("*") if path.is_file()}
    assert kept == {hparams.FILE, "notes", "events.out.tfevents.1.host"}
    assert len(list(folder.iterdir())) == len(new) + 2  # what became empty is gone


def test_training_curves_are_thinned_and_smoothed(full, tmp_path):
    found = read_curve("a", full["root"] / "run")
    assert len(found.x) == len(found.smooth) == 334  # 1000 in bins of 3
    assert found.loss[0] == pytest.approx((1 + 1 / 2 + 1 / 3) / 3)
    assert found.held_out[1].tolist() == [0.1]
    assert np.all(np.diff(found.smooth) < 0)
    assert read_curve("a", tmp_path) is None
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "loss": NaN}\n7\n')
    assert read_curve("a", tmp_path) is None


def written_run(folder, *lines):
    """A run's folder that holds these lines of metrics.jsonl."""
    folder.mkdir()
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "metrics.jsonl").write_text(text)
    return folder


def test_a_training_curve_may_run_along_steps_images_or_hours(tmp_path):
    new = written_run(
        tmp_path / "new",
        {"step": 10, "images": 5000, "seconds": 1800.0, "time": 9e8, "loss": 1.0},
        {"step": 20, "images": 10000, "seconds": 3600.0, "time": 9e9, "loss": 0.5},
        {"step": 20, "images": 10000, "seconds": 3601.8, "time": 9e9, "held_out/loss": 0.6},
    )
    places = {"steps": [10, 20], "images": [5000, 10000], "hours": [0.5, 1.0]}
    for axis, x in places.items():
        curve = read_curve("a", new, axis, per_step=7)
        assert curve.x.tolist() == x and curve.loss.tolist() == [1.0, 0.5]
        assert curve.held_out[0] == pytest.approx([1.0005 if axis == "hours" else x[1]])
    old = [{"step": s, "time": 1e9 + 36 * s, "loss": 1.0} for s in (100, 200)]  # version 0.2.0
    found = written_run(tmp_path / "old", *old)
    assert read_curve("a", found, "images", 128).x.tolist() == [12800, 25600]
    assert read_curve("a", found, "hours", 128).x.tolist() == [0.0, 1.0]
    resumed = {"step": 300, "time": 1e9 + 36 * 300, "seconds": 5.0, "images": 38400, "loss": 1.0}
    mixed = written_run(tmp_path / "mixed", *old, resumed)
    assert read_curve("a", mixed, "hours", 128).x.tolist() == [0.0, 1.0, 2.0]


def test_losses_by_time_are_those_of_the_last_tenth(tmp_path):
    def line(step, loss, count, **more):
        return {"step": step, "by_time": {"loss": loss, "count": count, **more}}

    early = line(500, [900.0, 900.0], [1, 1], density=[0.5, 0.5])
    late = [line(960, [1.0, 6.0], [2, 4]), line(1000, [1.0, 0.0], [2, 0], density=[0.25, 0.75])]
    found = read_by_time(written_run(tmp_path / "run", early, {"step": 990, "loss": 1.0}, *late))
    assert found.steps == (501, 1000)
    assert found.loss.tolist() == [0.5, 1.5]
    assert found.drawn.tolist() == [1.0, 1.0] and found.density.tolist() == [0.5, 1.5]
    assert found.weight is None and not found.weighted
    empty = read_by_time(written_run(tmp_path / "empty", line(3, [0.0, 2.0], [0, 1])))
    assert np.isnan(empty.loss[0]) and empty.density is None and empty.steps == (1, 3)
    assert read_by_time(written_run(tmp_path / "none", {"step": 1, "loss": 1.0})) is None


@pytest.mark.slow
@pytest.mark.parametrize(
    ("axis", "label"),
    [
        ("steps", "training step"),
        ("images", "training images seen"),
        ("hours", "hours of training"),
    ],
)
def test_the_report_shows_training_on_every_axis(tmp_path, capsys, axis, label):
    logs = tmp_path / "exp/logs"
    logs.mkdir(parents=True)
    by_time = {"loss": [1.0, 2.0], "count": [5, 5], "density": [0.5, 0.5], "weight": [1.0, 3.0]}
    lines = [{"step": s, "images": 64 * s, "seconds": 9.0 * s, "loss": 1 / s} for s in (1, 2, 3)]
    written_run(logs / "a", *lines, {**lines[-1], "by_time": by_time})
    sweep(tmp_path / "exp/sweeps/s", product(docs=("a", "old"), samplers=("ddim",)))
    written_run(logs / "old", {"step": 1, "time": 5.0, "loss": 1.0})
    words = ["--report", "--name", "s", "--exp", str(tmp_path / "exp"), "--ni"]
    assert main([*words, "--axis", axis]) == 0
    page = (tmp_path / "exp/sweeps/s/report.html").read_text(encoding="utf-8")
    part = re.search(r'<section id="training".*?</section>', page, re.S)[0]
    assert part.count('class="chart"') == 4 and f">{label}<" in part
    assert f'aria-label="Training loss against {label}"' in part
    assert "Density of the training times" in part and "Means over steps 1 to 3" in part
    capsys.readouterr()
    assert main([*words, "--axis", "epochs"]) == 2
    assert "--axis epochs: should be steps, images or hours" in capsys.readouterr().err


def cited(*folders):
    return {
        paper.number: reasons for paper, reasons in citations.used(load_sweeps(folders)).items()
    }


def test_citations_are_of_what_was_run(tmp_path):
    lines = product(samplers=("ddim",)) + [line("a", "heun", 10, 0, 3.0, grid="karras:5", nfe=19)]
    lines += [line("a", "rk45", None, 0, 3.0, nfe=61.5)]
    plain = cited(sweep(tmp_path / "s", lines))
    assert list(plain) == [
        *("2006.11239", "2010.02502", "2206.00364", "2011.13456"),
        *("1706.08500", "1801.01401", "1904.06991", "1606.03498"),
    ]
    assert plain["2206.00364"] == ["sampler heun", "time grid karras:5"]
    assert "loss simple" in plain["2006.11239"] and "process vp" in plain["2006.11239"]
    for name, common in {
        "scaled": {"recipe": {"scale": "skip:9"}},
        "trained": {"docs": {"a": "skip"}},
    }.items():
        folder = sweep(tmp_path / name, lines, **common)
        assert "2401.01520" in cited(folder)
        assert "@misc{wang2024s2dm" in citations.bibtex(load_sweeps([folder]))
    folder = sweep(tmp_path / "linear", lines, recipe={"scale": "linear:0:1.01"})
    assert "2308.15321" in cited(folder)
    entries = citations.bibtex(load_sweeps([folder]))
    assert entries.count("{") == entries.count("}")


def test_a_config_is_cited_by_all_that_it_names(tmp_path):
    folder = sweep(tmp_path / "s", product())
    meta = json.loads((folder / "sweep.json").read_text())
    meta["docs"]["a"]["config"] = {
        "data": {"dataset": "CELEBA"},
        "model": {"name": "ncsnpp"},
        "diffusion": {"process": "vp", "beta_schedule": "cosine"},
        "loss": {"name": "skip"},
        "evaluation": {"features": "inception"},
    }
    (folder / "sweep.json").write_text(json.dumps(meta))
    found = cited(folder)
    assert found["1411.7766"] == ["data set CELEBA"]
    assert found["2102.09672"] == ["noise schedule cosine"]
    assert "network ncsnpp" in found["2011.13456"] and "loss skip" in found["2401.01520"]
    assert "feature extractor inception" in found["1512.00567"]


@pytest.mark.slow
def test_a_paper_of_a_part_is_cited_and_a_part_that_is_not_here_breaks_nothing(
    tmp_path, monkeypatch
):
    labels = {**LABELS, "mine": "MINE-1617"}
    lines = product(samplers=("ddim",), labels=labels)
    lines += [line("a", "own:3", 10, 0, 5.0, grid="own_grid", labels=labels)]
    folder = sweep(tmp_path / "s", lines, metrics=labels)
    assert "own" not in str(cited(folder))
    page = report(folder, tmp_path / "out")
    assert "MINE-1617: not known here whether lower is better." in page

    monkeypatch.setattr(METRICS, "parts", dict(METRICS.parts))
    entry = "@misc{me2030,\n  author = {Me, A.},\n  title = {Mine},\n  year = {2030}\n}"
    facts = {"label": "MINE", "lower_is_better": False, "unit": "share", "bibtex": entry}

    @METRICS.part("mine", title="my own", paper="", **facts)
    def mine(seen: object) -> float:
        return 0.0

    found = load_sweeps([folder])
    assert citations.words(found)[-1] == "Me: Mine, 2030: metric MINE-1617"
    assert entry in citations.bibtex(found)
    assert "MINE-1617: higher is better." in report(folder, tmp_path / "again")


def test_every_part_with_a_paper_has_an_entry():
    import datasets  # noqa: F401
    import models  # noqa: F401

    wanted = {
        part.facts.paper
        for kind in KINDS.values()
        for part in kind.parts.values()
        if part.facts.paper
    }
    assert wanted and wanted <= papers.entries().keys()


def test_raw_weights_and_tf32_are_warned_of(tmp_path):
    folder = sweep(tmp_path / "s", product(), recipe={"tf32": True})
    meta = json.loads((folder / "sweep.json").read_text())
    meta["docs"]["a"]["average"] = "raw"
    (folder / "sweep.json").write_text(json.dumps(meta))
    page = report(folder, tmp_path / "out")
    assert "raw weights, not their moving average: a" in page
    assert "TF32 is on" in page
