"""Folders of sweeps as this program writes them, and as the version before wrote them."""

from __future__ import annotations

import json

from runners.record.cells import Cell
from runners.record.recipe import Recipe

EVALUATIONS = {"ddim": lambda s: s, "f_pndm": lambda s: s + 9, "deis": lambda s: s}
LABELS = {
    "distance": "FD[classifier]-1617",
    "kid": "KID[classifier]-1617",
    "precision": "precision[classifier]-1617",
    "recall": "recall[classifier]-1617",
    "is": "IS[classifier]-1617",
}
KNOWN = ("distance", "kid", "precision", "recall")  # the version before named no other metric
RENAMED = {"source": "weights", "weights": "weights_sha256", "average": "weights_kind"}
FID_LABELS = {"distance": "FID-10k", "kid": "KID-10k"}
RECIPE = Recipe(
    weights="0e" * 8,
    average="ema 0.995",
    training_step=9,
    process=None,
    sampler={},
    grid=None,
    steps=None,
    nfe=None,
    seed=None,
    scaling={"rescaled": True},
    imports=[],
).to_json()


def line(doc, sampler, steps, seed, distance, *, labels=LABELS, grid="uniform", **other):
    """A line of a file of cells. other: entries to replace, `options` and `clip` of the sampler."""
    name, nfe = sampler.split(":")[0], other.get("nfe", 60)
    if steps is not None and "nfe" not in other:
        nfe = EVALUATIONS.get(name, lambda s: s)(steps)
    values = [distance, distance / 2, 0.9, 0.8, 5.0, 0.25][: len(labels)]
    drawn = {"name": name, **other.pop("options", {}), "clip": other.pop("clip", False)}
    known = {"sampler": drawn, "grid": grid, "steps": steps, "seed": seed}
    return {
        "cell": Cell(doc, sampler, grid, steps, seed).key,
        "recipe": {**RECIPE, **known, "nfe": None if steps is None else nfe},
        **{"nfe": nfe, "n_samples": 1617, "steps_run": steps},
        "figures": dict(zip(labels.values(), values, strict=True)),
        **{"seconds": 2.0, "seconds_per_image": 1e-3 * (steps or 60), "sheet": None},
        **{"neighbours": None, "warnings": [], "device": "cpu", "processes": 1},
        **{"versions": {"torch": "2"}, "command": f"main.py --sweep {doc}", "date": "2026-01-01"},
        **other,
    }


def flat(entry):
    """The line as the version before wrote it."""
    cell, recipe = Cell.of_key(entry["cell"]), entry["recipe"]
    sampler = dict(recipe["sampler"])
    rest = {key: value for key, value in entry.items() if key != "recipe"}
    return {
        **{"doc": cell.doc, "sampler": cell.sampler, "grid": cell.grid, "steps": cell.steps},
        **{"seed": cell.seed, "sampler_name": sampler.pop("name"), "clip": sampler.pop("clip")},
        **{
            "options": sampler,
            "eps_scale": recipe["scale"],
            "weights_sha256": recipe["weights"],
            **rest,
        },
    }


def sweep(folder, lines, *, docs=None, recipe=(), **settings):
    """A sweep's folder with these cells. docs: doc -> loss; recipe: what all cells share."""
    losses = docs or dict.fromkeys((doc_of(entry) for entry in lines), "simple")
    meta = {
        **{"format": 2, "name": folder.name, "n_samples": 1617, "metrics": LABELS},
        "dataset": {
            **{"dataset": "DIGITS", "fingerprint": "ab" * 32, "images": 1617},
            **{"real_halves_distance": 2.871, "extractor": "classifier"},
            **{"extractor_sha256": "cd" * 32, "kid_subset_size": 500},
        },
        "image": [1, 8, 8],
        "docs": {
            doc: {
                **{"source": f"{doc}/ckpt_9.pth", "weights": "0e" * 8, "average": "ema 0.995"},
                **{"training_step": 9, "run": str(folder / doc)},
                "config": {"loss": {"name": loss}, "diffusion": {"process": "vp"}},
            }
            for doc, loss in losses.items()
        },
        "recipe": {**RECIPE, "sampler": {"clip": None}, "weights": None, **dict(recipe)},
        **settings,
    }
    folder.mkdir(parents=True)
    (folder / "sweep.json").write_text(json.dumps(meta))
    write_lines(folder, lines)
    return folder


def write_lines(folder, lines):
    text = "".join(json.dumps(entry) + "\n" for entry in lines)
    (folder / "cells-0-of-1.jsonl").write_text(text)


def flat_sweep(folder, lines, **settings):
    """The folder as the version before left it."""
    sweep(folder, lines, docs={doc_of(lines[0]): "simple"})
    flatten(folder, **settings)
    return folder


def flatten(folder, **settings):
    """Rewrite a folder of this version as the version before would have left it."""
    meta = json.loads((folder / "sweep.json").read_text())
    recipe = meta.pop("recipe")
    meta["metrics"] = {key: label for key, label in meta["metrics"].items() if key in KNOWN}
    meta |= {"format": 1, "eps_scale": recipe["scale"], "clip": recipe["sampler"]["clip"]}
    meta |= {key: recipe[key] for key in ("precision", "tf32", "scaling")}
    meta |= {"device_type": recipe["device"], "seed": 3, **settings}
    for doc, known in meta["docs"].items():
        meta["docs"][doc] = {RENAMED.get(key, key): value for key, value in known.items()}
    (folder / "sweep.json").write_text(json.dumps(meta))
    for path in folder.glob("cells-*.jsonl"):
        lines = [flat(json.loads(text)) for text in path.read_text().splitlines()]
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def doc_of(entry):
    return entry["cell"].rsplit("|", 3)[0]


def place_of(entry):
    return doc_of(entry), entry["recipe"]["steps"], entry["recipe"]["seed"]
