"""A recipe says what made an image, in files of this version and of the one before."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from typing import Any

import pytest
import torch

from configs.schema import load
from models import build
from runners.model.load import Model
from runners.model.weights import Weights
from runners.record.recipe import Recipe
from runners.sampling.recipe import recipe_of
from runners.sampling.walk import walk_for

SCALING = {
    **{"rescaled": True, "logit_transform": False},
    **{"uniform_dequantization": False, "gaussian_dequantization": False},
}
OLD = {  # samples.json as the version before wrote it
    "weights": "/tmp/base/exp/logs/run/ckpt_200.pth",
    "weights_sha256": "0fde9d54332347cd",
    "weights_kind": "ema 0.995",
    "training_step": 200,
    "sampler": {"name": "ddim", "eta": 0.0, "clip": False},
    "sample_type": "ddim",
    "grid": "uniform",
    "timesteps": 8,
    "nfe": 8,
    "seed": 0,
    "precision": "fp32",
    "tf32": False,
    "device_type": "cpu",
    "scaling": SCALING,
    "quantiser": "uint8, 255 x rounded half up",
}
NOW = Recipe(
    weights="0fde9d54332347cd",
    average="ema 0.995",
    training_step=200,
    source="elsewhere/ckpt_200.pth",
    process={"process": "vp", "beta_schedule": "linear"},
    sampler={"name": "ddim", "eta": 0.0, "clip": False},
    grid="uniform",
    steps=8,
    nfe=8,
    seed=0,
    scaling=SCALING,
    imports=[],
)
CELL = {  # a line of cells-0-of-1.jsonl as the version before wrote it
    **{"cell": "run|ddim@uniform|8|0", "doc": "run", "sampler": "ddim", "grid": "uniform"},
    **{"sampler_name": "ddim", "options": {"eta": 0.0}, "clip": False, "eps_scale": "none"},
    **{"steps": 8, "steps_run": 8, "seed": 0, "n_samples": 200, "warnings": []},
    **{"weights_sha256": "0fde9d54332347cd", "device": "cpu", "processes": 1, "nfe": 8},
    **{"figures": {"FID-200": 1.0}, "seconds": 0.4, "neighbours": [[1289, 8.6]], "sheet": "s.png"},
}


def test_a_recipe_comes_back_from_its_file() -> None:
    recipe = replace(NOW, picture={"mode": "interpolation", "seeds": (1, 2)}, scale="skip:5")
    found = Recipe.from_json(json.loads(json.dumps({"recipe": recipe.to_json()})))
    assert found == recipe and found.differs(recipe) == []
    assert found.source == recipe.source
    assert Recipe.from_json(recipe.to_json()) == recipe


def test_values_are_kept_apart_from_those_given() -> None:
    sampler: dict[str, Any] = {"name": "ddim", "eta": 0.0, "clip": False}
    recipe = replace(NOW, sampler=sampler)
    sampler["eta"] = 1.0
    assert recipe.sampler["eta"] == 0.0


def test_the_version_before_is_read() -> None:
    found = Recipe.from_json(OLD)
    assert found.differs(NOW) == NOW.differs(found) == []
    assert found.source == OLD["weights"] and found.process is None and found.imports is None
    known = [part.name for part in fields(Recipe) if part.name not in ("process", "imports")]
    assert [getattr(found, name) for name in known if name != "source"] == [
        getattr(NOW, name) for name in known if name != "source"
    ]


def test_the_record_of_figures_of_the_version_before_is_read() -> None:
    measured = {"seconds": 3.2, "images_per_second": 9.0, "device": "cpu", "processes": 2}
    record = {"figures": {}, "n_samples": 64, "made_by": {**OLD, **measured}}
    assert Recipe.from_json(record).differs(NOW) == []
    adaptive = {**OLD, "timesteps": None, "nfe": 34.5, **measured}  # evaluations were counted
    assert Recipe.from_json({"made_by": adaptive}).nfe is None


@pytest.mark.parametrize("steps", [8, None])
def test_a_cell_of_the_version_before_is_read(steps: int | None) -> None:
    found = Recipe.from_json({**CELL, "steps": steps})
    assert found.differs(replace(NOW, steps=steps, nfe=steps)) == []
    shared = {"precision": "bf16", "tf32": True, "device_type": "cuda", "scaling": SCALING}
    whole = Recipe.from_json({**shared, **CELL})
    assert (whole.precision, whole.tf32, whole.device, whole.scaling) == (
        *("bf16", True, "cuda", SCALING),
    )
    assert Recipe.from_json({**CELL, "device": "NVIDIA H200"}).device == "cuda"


@pytest.mark.parametrize(
    ("old", "now"),
    [
        ({"name": "skip", "k": 9, "tau": 0.99, "noise": "fresh"}, "skip"),
        ({"name": "skip", "k": 5, "tau": 0.99, "noise": "fresh"}, "skip:5"),
        ("none", "none"),
        ({"name": "gone", "k": 5}, "gone:k=5"),
    ],
)
def test_a_noise_scale_of_the_version_before_is_read(old: Any, now: str) -> None:
    assert Recipe.from_json({**OLD, "eps_scale": old}).scale == now


def test_a_picture_of_the_version_before_is_read() -> None:
    told = {"image": [{"name": "0", "sha256": "8a"}], "mask": "half", "fills": 2}
    found = Recipe.from_json({**OLD, "picture": "inpaint", **told})
    assert found.picture == {"mode": "inpaint", **told}
    assert found.differs(replace(NOW, picture={"mode": "inpaint", **told})) == []
    assert found.differs(NOW) == ["picture inpaint, now null"]


@pytest.mark.parametrize("record", [OLD, CELL, {"recipe": NOW.to_json()}])
def test_unknown_fields_of_files_are_no_differences(record: dict[str, Any]) -> None:
    inner = record.get("recipe", record)
    more = {**inner, "colour": "green", "comment": None}
    found = Recipe.from_json({"recipe": more} if "recipe" in record else more)
    assert found.differs(NOW) == []


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"seed": 1}, ["seed 0, now 1"]),
        ({"weights": "f" * 16}, ["weights 0fde9d54332347cd, now ffffffffffffffff"]),
        ({"scale": "skip"}, ["scale none, now skip"]),
        ({"grid": "quad", "steps": 9}, ["grid uniform, now quad", "steps 8, now 9"]),
        (
            {"sampler": {"name": "ddim", "eta": 0.5, "clip": True}},
            ["sampler.eta 0, now 0.5", "sampler.clip false, now true"],
        ),
        ({"sampler": {"name": "deis", "order": 3}}, ["sampler ddim, now deis"]),
        ({"process": {"process": "cld", "beta": 4.0}}, ["process vp, now cld"]),
        ({"process": {"process": "vp"}}, ["process.beta_schedule linear, now null"]),
        ({"scaling": {**SCALING, "rescaled": False}}, ["scaling.rescaled true, now false"]),
        ({"picture": {"mode": "grid", "rows": 2}}, ["picture null, now grid"]),
        ({"imports": [{"file": "p.py", "sha256": "0a"}]}, None),
        ({"imports": None}, []),
        ({"source": "moved/ckpt.pth"}, []),
    ],
)
def test_differences_in_words(changed: dict[str, Any], told: list[str] | None) -> None:
    found = NOW.differs(replace(NOW, **changed))
    if told is None:
        assert found == ['imports [], now [{"file": "p.py", "sha256": "0a"}]']
    else:
        assert found == told


@pytest.mark.parametrize(
    ("record", "text"),
    [
        ({}, "lacks weights, sampler, grid"),
        ([1], "not a recipe: [1]"),
        ({"recipe": 3}, "not a recipe: 3"),
        ({"recipe": {"format": 3}}, "format 3; this program knows 2"),
        ({**OLD, "sampler": 5}, "sampler is 5"),
        ({"weights_sha256": "0", "picture": "grid"}, "lacks sampler, grid, steps, nfe, seed"),
    ],
)
def test_what_holds_no_recipe_is_refused(record: Any, text: str) -> None:
    with pytest.raises(ValueError, match="recipe") as caught:
        Recipe.from_json(record)
    assert text in str(caught.value)


def model_of(*overrides: tuple[str, str]) -> Model:
    small = [
        ("model.attn_resolutions", "[]"),
        ("model.ch", "32"),
        ("model.ch_mult", "[1]"),
        ("model.num_res_blocks", "1"),
    ]
    config = load("digits.yml", [*small, *overrides])
    network = build(config.model.name, **config.model.options).eval()
    weights = Weights(network.state_dict(), "ours", "ckpt_3.pth", "raw", 3)
    return Model(config, config.process(), network, weights)


def test_a_recipe_is_made_of_the_model_and_its_walk() -> None:
    more = [("sampling.sample_type", "ddpm_noisy"), ("sampling.timesteps", "7"), ("seed", "5")]
    model = model_of(*more, ("sampling.eps_scale", "skip:5"))
    recipe = recipe_of(model.weights, model.config, walk_for(model.config, model.process), "cuda")
    assert recipe.weights == model.weights.sha256 and len(recipe.weights) == 16
    assert (recipe.average, recipe.training_step, recipe.source) == ("raw", 3, "ckpt_3.pth")
    assert recipe.sampler == {"name": "ddpm", "variance": "large", "clip": True}
    assert (recipe.steps, recipe.nfe, recipe.seed, recipe.scale) == (7, 7, 5, "skip:5")
    assert recipe.process is not None and recipe.process["process"] == "vp"
    assert (recipe.device, recipe.picture) == ("cuda", None)
    other = recipe_of(
        model.weights, model.config, walk_for(model.config, model.process), "cpu", {"mode": "grid"}
    )
    assert recipe.differs(other) == ["device cuda, now cpu", "picture null, now grid"]


def test_evaluations_of_an_adaptive_sampler_are_not_part_of_it() -> None:
    model = model_of(("sampling.sample_type", "rk45"))
    recipe = recipe_of(model.weights, model.config, walk_for(model.config, model.process), "cpu")
    assert recipe.steps is None and recipe.nfe is None


def test_weights_are_hashed_once(monkeypatch) -> None:
    from models import checkpoint

    calls = []
    own = checkpoint.weights_hash
    monkeypatch.setattr(checkpoint, "weights_hash", lambda state: calls.append(1) or own(state))
    weights = Weights({"w": torch.zeros(3)}, "ours", "x.pth", "raw", 1)
    assert weights.sha256 == weights.sha256 == weights.provenance()["weights_sha256"]
    assert calls == [1]
