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

from configs.schema.problems import ConfigError
from runners.record.cells import load
from runners.report import board, citations, curves, pictures, published, summary, write
from runners.report.missing import missing
from runners.report.study import study
from runners.report.tables import latex_escape
from runners.report.verdict import entries, sentence

NAN = math.nan
EVALUATIONS = {"ddim": lambda s: s, "f_pndm": lambda s: s + 9, "deis": lambda s: s}
LABELS = {
    "distance": "FD[classifier]-1617",
    "kid": "KID[classifier]-1617",
    "precision": "precision[classifier]-1617",
    "recall": "recall[classifier]-1617",
}
FID_LABELS = {"distance": "FID-10k", "kid": "KID-10k"}


def line(doc, sampler, steps, seed, distance, *, labels=LABELS, grid="uniform", **other):
    name = sampler.split(":")[0]
    known = {"nfe": EVALUATIONS[name](steps)} if name in EVALUATIONS and steps else {}
    values = [distance, distance / 2, 0.9, 0.8][: len(labels)]
    return {
        "cell": f"{doc}|{sampler}@{grid}|{steps}|{seed}",
        **{"doc": doc, "sampler": sampler, "grid": grid, "sampler_name": name, "clip": False},
        **{"steps": steps, "steps_run": steps, "seed": seed, "n_samples": 1617, **known},
        "figures": dict(zip(labels.values(), values, strict=True)),
        **{"seconds": 2.0, "seconds_per_image": 1e-3 * (steps or 60), "sheet": None},
        **{"neighbours": None, "warnings": [], "device": "cpu", "processes": 1},
        **{"versions": {"torch": "2"}, "command": f"main.py --sweep {doc}", "date": "2026-01-01"},
        **other,
    }


def sweep(folder, lines, *, docs=None, **common):
    """A sweep's folder with these cells; docs: doc -> loss."""
    losses = docs or dict.fromkeys((entry["doc"] for entry in lines), "simple")
    meta = {
        **{"format": 1, "name": folder.name, "n_samples": 1617, "metrics": LABELS},
        "dataset": {
            **{"dataset": "DIGITS", "fingerprint": "ab" * 32, "images": 1617},
            **{"real_halves_distance": 2.871, "extractor": "classifier"},
            **{"extractor_sha256": "cd" * 32, "kid_subset_size": 500},
        },
        **{"image": [1, 8, 8], "eps_scale": "none", "precision": "fp32", "tf32": False},
        "docs": {
            doc: {
                **{"weights": f"{doc}/ckpt_9.pth", "weights_sha256": "0e" * 32},
                **{"weights_kind": "ema 0.995", "training_step": 9, "run": str(folder / doc)},
                "config": {"loss": {"name": loss}, "diffusion": {"process": "vp"}},
            }
            for doc, loss in losses.items()
        },
        **common,
    }
    folder.mkdir(parents=True)
    (folder / "sweep.json").write_text(json.dumps(meta))
    text = "".join(json.dumps(entry) + "\n" for entry in lines)
    (folder / "cells-0-of-1.jsonl").write_text(text)
    return folder


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
    shown = entries(found, "distance")
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


def test_a_torn_last_line_is_ignored_and_the_last_of_equal_cells_counts(tmp_path, caplog):
    folder = sweep(tmp_path / "s", [line("a", "ddim", 10, 0, 9.0)])
    again = json.dumps(line("a", "ddim", 10, 0, 8.0)) + "\n"
    (folder / "cells-1-of-2.jsonl").write_text(again + '{"cell": "b", "do')
    cells = load(folder).cells
    assert [cell.figures[LABELS["distance"]] for cell in cells] == [8.0]
    assert not caplog.records


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
        ('{"format": 1}', "lacks metrics"),
        ('{"format":1,"dataset":{},"docs":{},"image":[1,8,8],"metrics":{}}', "metrics.distance"),
    ],
)
def test_a_folder_that_is_no_sweep_is_refused_in_one_line(tmp_path, text, words):
    if text is not None:
        (tmp_path / "sweep.json").write_text(text)
    with pytest.raises(ConfigError, match=words) as caught:
        load(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "damage, words",
    [
        ({"figures": None}, "figures is null, not a mapping"),
        ({"cell": ["a"]}, "cell is ..a.., not a text"),
        ({"doc": 3}, "doc is 3"),
        ({"seed": "0"}, "seed is .0., not a whole number"),
        ({"seed": True}, "seed is true"),
        ({"steps": "10"}, "steps is .10."),
        ({"nfe": None}, "nfe is null"),
        ({"nfe": NAN}, "nfe is nan"),
        ({"nfe": 10**400}, "too large"),
        ({"neighbours": [3]}, "neighbours has 3"),
        ({"neighbours": [[1, None]]}, "neighbours has"),
        ({"options": []}, "options is"),
        ({"warnings": "text"}, "warnings is"),
        ({"sheet": 7}, "sheet is 7"),
    ],
)
def test_a_line_with_a_wrong_type_is_named_and_skipped(tmp_path, caplog, damage, words):
    lines = product()
    folder = sweep(tmp_path / "s", [lines[0], {**lines[1], **damage}, *lines[2:]], docs={"a": ""})
    assert len(load(folder).cells) == 7
    assert re.search(
        f"cells-0-of-1.jsonl: line 2 is damaged and not counted: .*{words}", caplog.text
    )


@pytest.mark.parametrize(
    "damage, words",
    [
        ({"docs": {}}, "docs is empty"),
        ({"docs": []}, "docs is .., not a mapping"),
        ({"docs": {"a": None}}, "docs.a is null"),
        ({"docs": {"a": {"config": {}, "weights_sha256": ""}}}, "it lacks docs.a.run"),
        (
            {"docs": {"a": {"config": {"loss": "l"}, "run": "r", "weights_sha256": ""}}},
            "docs.a.config.loss is .l., not a mapping",
        ),
        ({"metrics": None}, "metrics is null"),
        ({"metrics": {"distance": 3}}, "metrics.distance is 3"),
        ({"dataset": None}, "dataset is null"),
        ({"dataset": {}}, "lacks dataset.fingerprint"),
        ({"image": None}, "image is null"),
        ({"image": [1, 8]}, "image is .1, 8., not .channels"),
        ({"plan": "a|b|1|0"}, "plan is"),
        ({"plan": [3]}, "plan has 3"),
    ],
)
def test_a_damaged_sweep_json_is_refused_in_one_line(tmp_path, damage, words):
    folder = sweep(tmp_path / "s", product(), docs={"a": "simple"})
    path = folder / "sweep.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **damage}))
    with pytest.raises(ConfigError, match=f"sweep.json is damaged: .*{words}") as caught:
        load(folder)
    assert "\n" not in str(caught.value)


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
        ({"metrics": FID_LABELS}, "metrics"),
        ({"image": [3, 8, 8]}, "image shape"),
        ({"dataset": {"fingerprint": "ff"}}, "data"),
    ],
)
def test_sweeps_that_do_not_compare_are_refused(tmp_path, other, words):
    one = sweep(tmp_path / "one", product())
    two = sweep(tmp_path / "two", product(), **other)
    with pytest.raises(ConfigError, match=f"differ in their {words}"):
        study([one, two])


# Statistics


def test_mean_and_deviation_are_over_the_finite_seeds():
    found = summary.stat({0: 1.0, 1: 3.0, 2: NAN})
    assert (found.mean, found.n) == (2.0, 2)
    assert found.std == pytest.approx(math.sqrt(2))
    assert found.error == pytest.approx(1.0)
    assert math.isnan(summary.stat({0: 1.0}).std)
    assert math.isnan(summary.stat({0: NAN}).mean)


def test_gain_is_positive_for_a_lower_distance_and_pairs_equal_seeds():
    base, other = summary.stat({0: 10.0, 1: 12.0, 2: 14.0}), summary.stat({0: 9, 1: 11, 2: 12.4})
    found = summary.gain(base, other)
    assert found.percent == pytest.approx(100 * (1 - 10.8 / 12))
    paired = np.array([9 - 9.0, 11 - 10.8, 12.4 - 12.6])  # other - ratio base
    assert found.error == pytest.approx(100 / 12 * paired.std(ddof=1) / math.sqrt(3))
    assert found.reach == pytest.approx(4.302653 * found.error)  # t, two degrees of freedom
    assert found.clear


def test_gain_counts_only_the_seeds_that_both_have():
    base = summary.stat({0: 10.0, 1: 12.0, 2: 30.0})
    found = summary.gain(base, summary.stat({0: 9.0, 1: 11.0, 7: 1.0}))
    assert (found.percent, found.seeds) == (pytest.approx(100 * (1 - 10 / 11)), 2)
    one = summary.gain(base, summary.stat({1: 11.0, 8: 1.0}))
    assert (one.percent, one.known, one.clear) == (pytest.approx(100 / 12), False, False)
    assert summary.gain(base, summary.stat({5: 9.0, 6: 11.0})) is None


def test_gain_of_one_seed_has_no_uncertainty_and_of_nothing_is_none():
    one = summary.gain(summary.stat({0: 4.0}), summary.stat({0: 3.0}))
    assert one.percent == 25
    assert math.isnan(one.error) and not one.clear
    assert summary.gain(summary.stat({0: NAN}), summary.stat({0: 3.0})) is None
    assert summary.gain(summary.stat({0: 0.0}), summary.stat({0: 3.0})) is None


def test_a_budget_counts_evaluations_not_steps(tmp_path):
    found = study([sweep(tmp_path / "s", product())])
    # F-PNDM is better at equal steps, but its 10 steps cost 19 evaluations.
    assert [(b, p.sampler, p.nfe) for b, p in summary.winners(found)] == [
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
    found = marked(study([sweep(tmp_path / "s", lines)]))
    assert found == {("a", "f_pndm", 10): "best"}  # by about 1 of each seed: no tie
    lines = [entry for entry in lines if entry["sampler"] != "f_pndm"]
    two = study([sweep(tmp_path / "t", lines)])
    assert sorted(marked(two).values()) == ["best", "tie"]
    assert ", level with d" in sentence(two)


def test_what_is_ranked_is_over_the_seeds_that_all_have(tmp_path):
    # Seed 2 is bad for everyone: without it `deis` would look best, and it was never run with it.
    values = {"ddim": (10.0, 11.0, 30.0), "f_pndm": (11.0, 12.0, 33.0), "deis": (12.0, 13.5)}
    lines = [line("a", s, 10, i, v, nfe=10) for s, of in values.items() for i, v in enumerate(of)]
    found = study([sweep(tmp_path / "s", lines)])
    shown = entries(found, "distance")
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
    lines = [e for e in product(samplers=("ddim",)) if (e["steps"], e["seed"]) != (20, 1)]
    page = report(sweep(tmp_path / "s", lines), tmp_path / "out")
    assert "over 2 seeds of the sampling noise where a figure says no other number" in page
    assert page.count('<span class="nfe few">1 seed</span>') == 4  # once per figure


def test_docs_without_a_seed_in_common_are_not_ranked(tmp_path):
    one = sweep(tmp_path / "one", product(docs=("a",), samplers=("ddim",), seeds=(0,)))
    two = sweep(tmp_path / "two", product(docs=("b",), samplers=("ddim",), seeds=(1,)))
    for folder in (one, two):
        text = (folder / "cells-0-of-1.jsonl").read_text()
        sheet(folder, "all.png")
        text = text.replace('"sheet": null', '"sheet": "sheets/all.png"')
        (folder / "cells-0-of-1.jsonl").write_text(text)
    found = study([one, two])
    assert marked(found) == {} and set(dict(summary.winners(found)).values()) == {None}
    assert summary.gains(found, *found.docs) == {}
    assert "not ranked, as no seed is common" in sentence(found)
    write([one, two], tmp_path / "out", {}, None, None)
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    for words in ("one seed each", "nothing is ranked: 10 steps, 20 steps", "no gain", "No front"):
        assert words in page, words
    assert '<span class="best">' not in page and "over 2 seeds" not in page
    assert "in all rows of one seed." in page and ", seed 1 <span" in page
    assert "bold:" not in (tmp_path / "out" / "report.md").read_text(encoding="utf-8")


def test_what_one_seed_cannot_tell_is_not_counted_as_unclear(tmp_path):
    lines = product(docs=("a", "b"), samplers=("ddim",))
    page = report(sweep(tmp_path / "two", lines), tmp_path / "two" / "out")
    assert "clearly lower in 2, clearly higher in 0" in page
    lines = [e for e in lines if (e["doc"], e["steps"], e["seed"]) != ("b", 20, 1)]
    page = report(sweep(tmp_path / "some", lines), tmp_path / "some" / "out")
    assert "clearly lower in 1, clearly higher in 0, cannot be told in 1: one seed" in page
    lines = [e for e in lines if e["seed"] == 0]
    page = report(sweep(tmp_path / "one", lines), tmp_path / "one" / "out")
    assert "cannot be told: one seed" in page and "clearly" not in page.replace("how clearly", "")


def test_pareto_front_holds_what_nothing_beats(tmp_path):
    values = {(10, 0.1): 9.0, (20, 0.2): 7.0, (30, 0.3): 8.0, (40, 0.4): 7.0, (50, NAN): 1.0}
    lines = [line("a", "ddim", s, 0, d, seconds_per_image=t) for (s, t), d in values.items()]
    found = study([sweep(tmp_path / "s", lines)])
    assert [point.steps for point in summary.pareto(summary.timed(found.points))] == [10, 20]


def test_times_within_their_spread_are_not_told_apart(tmp_path):
    spread = {10: ((1.0, 9.0), (1.2, 9.2)), 20: ((1.1, 9.1), (1.2, 9.2)), 30: ((5.0, 9.5),) * 2}
    lines = [
        line("a", "ddim", steps, seed, distance, seconds_per_image=seconds)
        for steps, cells in spread.items()
        for seed, (seconds, distance) in enumerate(cells)
    ]
    folder = sweep(tmp_path / "s", lines)
    points = summary.timed(study([folder]).points)
    front = summary.pareto(points)
    assert [p.steps for p in front] == [10]
    assert [p.steps for p in summary.beside(front, points)] == [20]
    page = report(folder, tmp_path / "out")
    assert "1.10 ± 0.14 s" in page and "20 steps ≈" in page and "30 steps ≈" not in page
    assert "an order within it is no claim" in page
    single = sweep(tmp_path / "t", [entry for entry in lines if entry["seed"] == 0])
    assert "How far times and distances scatter cannot be told" in report(single, tmp_path / "t")


def test_missing_cells_are_those_of_the_incomplete_product(tmp_path):
    lines = [e for e in product(docs=("a", "b")) if (e["doc"], e["steps"]) != ("b", 20)]
    lines += [line("a", "rk45", None, seed, 3.0, nfe=61.5) for seed in (0, 1)]
    found = missing(load(sweep(tmp_path / "s", lines)))
    assert sorted(found) == [
        (2, "ddim@uniform on b, 20 steps, seed 0, 1"),
        (2, "f_pndm@uniform on b, 20 steps, seed 0, 1"),
        (2, "rk45@uniform on b, adaptive, seed 0, 1"),
    ]


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
    scaled = sweep(tmp_path / "scaled", product(docs=("b",)), eps_scale="skip")
    other = sweep(tmp_path / "other", product(docs=("b",)))
    twin = sweep(tmp_path / "more" / "plain", product())
    labels = [[doc.label for doc in study([plain, x]).docs] for x in (scaled, other, twin)]
    assert labels == [["plain/a", "scaled/b"], ["a", "b"], ["plain/a", "plain (2)/a"]]
    assert study([plain]).samplers == ["ddim", "f_pndm"]


def test_grids_and_clipping_show_in_the_name_where_there_are_several(tmp_path):
    lines = product() + product(samplers=("ddim",), grid="quad")
    clipped = {**lines[0], "cell": "other", "clip": True}
    found = study([sweep(tmp_path / "s", [*lines, clipped])])
    assert found.samplers == [
        "ddim@uniform",
        "f_pndm@uniform",
        "ddim@quad",
        "ddim@uniform, clipped",
    ]


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
    for number, entry in enumerate(e for e in lines if e["seed"] == 0):
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
    assert "grid &lt;quad&gt; has 9 steps (in 1 cells)" in full["page"]


def test_the_page_tells_what_a_reader_needs(full):
    text = re.sub(r"<[^>]+>", " ", full["page"])
    for words in (
        *(
            "NFE 19",
            "NFE 61.5",
            "0e" * 32,
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
    assert len(svgs) == 7  # four figures, time, gain, training
    for svg in svgs:
        assert "<text" in svg and "var(--ink)" in svg and "var(--font)" in svg
        assert " width=" not in svg[: svg.index(">")] and "<style" not in svg


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


def test_many_lines_get_a_chart_per_sampler_and_axes_in_common(tmp_path):
    docs = tuple(f"doc{i}" for i in range(9))
    page = report(sweep(tmp_path / "s", product(docs=docs, seeds=(0,))), tmp_path / "out")
    assert len(re.findall(r"<h3>(ddim|f_pndm)</h3><figure><svg", page)) == 2 * 4
    assert page.count("<details") > 8


def test_strips_shrink_until_they_fit(tmp_path, monkeypatch):
    lines = product(samplers=("ddim",), steps=(10, 20, 30), seeds=(0,))
    folder = sweep(tmp_path / "s", lines, image=[3, 32, 32])
    for entry in lines:
        entry["sheet"] = sheet(folder, f"{entry['steps']}.png", size=32, channels=3)
    (folder / "cells-0-of-1.jsonl").write_text("".join(json.dumps(e) + "\n" for e in lines))
    points = study([folder]).points
    whole = pictures.strips(points, (3, 32, 32))
    assert (whole.columns, whole.lossy, len(whole.sources)) == (16, False, 3)
    monkeypatch.setattr(pictures, "BUDGET", 60_000)
    less = pictures.strips(points, (3, 32, 32))
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
    assert latex.count(r"\begin{table}") == latex.count(r"\bottomrule") == 4
    assert latex_escape(r"a\b^~") == r"a\textbackslash{}b\textasciicircum{}\textasciitilde{}"


def test_tensorboard_has_one_row_per_point_and_no_more_after_another_report(full):
    files = sorted((full["root"] / "board").rglob("events*"))
    found = study([full["folder"]])
    assert len(files) == len(found.points) == 14
    assert board.write(found, full["root"] / "board")[0] in files
    assert sorted((full["root"] / "board").rglob("events*")) == files
    values = [v for event in EventFileLoader(str(files[0])).Load() for v in event.summary.value]
    plugins = {v.metadata.plugin_data.plugin_name for v in values}
    assert "hparams" in plugins
    assert LABELS["distance"] in {v.tag for v in values}


def test_rows_of_an_earlier_sweep_leave_tensorboard_and_nothing_else_does(tmp_path):
    lines = product() + [line("a", "rk45", None, 0, 4.0, nfe=61.5)]
    folder = tmp_path / "board"
    old = board.write(study([sweep(tmp_path / "old", lines)]), folder)
    assert not any("None" in str(path.relative_to(folder)) for path in old)
    assert any("rk45-adaptive" in str(path) for path in old)
    (old[-1].parent / "notes").touch()
    (folder / "other").mkdir()
    (folder / "other" / "events.out.tfevents.1.host").touch()
    new = board.write(study([sweep(tmp_path / "new", product(samplers=("ddim",)))]), folder)
    assert sorted(folder.rglob(board.FILE)) == sorted(new) and set(new) < set(old)
    kept = {path.name for path in folder.rglob("*") if path.is_file()}
    assert kept == {board.FILE, "notes", "events.out.tfevents.1.host"}
    assert len(list(folder.iterdir())) == len(new) + 2  # what became empty is gone


def test_training_curves_are_thinned_and_smoothed(full, tmp_path):
    found = curves.curve("a", full["root"] / "run")
    assert len(found.steps) == len(found.smooth) == 334  # 1000 in bins of 3
    assert found.loss[0] == pytest.approx((1 + 1 / 2 + 1 / 3) / 3)
    assert found.held_out[1].tolist() == [0.1]
    assert np.all(np.diff(found.smooth) < 0)
    assert curves.curve("a", tmp_path) is None
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "loss": NaN}\n7\n')
    assert curves.curve("a", tmp_path) is None


def test_citations_are_of_what_was_run(tmp_path):
    lines = product(samplers=("ddim",)) + [line("a", "heun", 10, 0, 3.0, grid="karras:5", nfe=19)]
    lines += [line("a", "rk45", None, 0, 3.0, nfe=61.5)]
    plain = citations.used(study([sweep(tmp_path / "s", lines)]))
    assert list(plain) == [
        *("2006.11239", "2010.02502", "2206.00364", "2011.13456"),
        *("1706.08500", "1801.01401", "1904.06991"),
    ]
    assert plain["2206.00364"] == ["sampler heun", "grid karras:5"]
    for name, common in {
        "scaled": {"eps_scale": "skip:9"},
        "trained": {"docs": {"a": "skip"}},
    }.items():
        found = study([sweep(tmp_path / name, lines, **common)])
        assert "2401.01520" in citations.used(found)
        assert "@misc{wang2024s2dm" in citations.bibtex(found)
    linear = study([sweep(tmp_path / "linear", lines, eps_scale="linear:0:1.01")])
    assert "2308.15321" in citations.used(linear)
    entries = citations.bibtex(linear)
    assert entries.count("{") == entries.count("}")


def test_every_paper_of_a_sampler_has_an_entry():
    wanted = {about.paper for about in citations.ABOUT.values()} | set(citations.GRIDS.values())
    assert wanted <= citations.PAPERS.keys()


def test_raw_weights_and_tf32_are_warned_of(tmp_path):
    folder = sweep(tmp_path / "s", product(), tf32=True)
    meta = json.loads((folder / "sweep.json").read_text())
    meta["docs"]["a"]["weights_kind"] = "raw"
    (folder / "sweep.json").write_text(json.dumps(meta))
    page = report(folder, tmp_path / "out")
    assert "raw weights, not their moving average: a" in page
    assert "TF32 is on" in page
