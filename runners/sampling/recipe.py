"""The recipe of an image: its weights, and the walk along which a config draws it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from configs import imports
from configs.schema import Config
from runners.model.load import scaling_of
from runners.model.weights import Weights
from runners.record.recipe import Recipe
from runners.sampling.walk import Walk


def recipe_of(
    weights: Weights,
    config: Config,
    walk: Walk,
    device_type: str,
    picture: Mapping[str, Any] | None = None,
) -> Recipe:
    """Everything that decides the images which these weights draw along this walk.

    config: whose seed, sampler and precision are used. device_type: "cpu" or "cuda".
    picture: {"mode": ..., **what it was told}, None for plain samples.
    """
    sampler, scale = config.sampler(), config.scale()
    return Recipe(
        weights=weights.sha256,
        average=weights.average,
        training_step=weights.step,
        source=weights.source,
        process=config.diffusion.model_dump(mode="json"),
        sampler={"name": sampler.name, **sampler.record, "clip": sampler.clipping},
        grid=walk.grid,
        steps=walk.asked,
        nfe=walk.plan.nfe,
        scale=str(scale or "none"),
        seed=config.seed,
        precision=config.sampling.precision,
        tf32=config.training.tf32,
        device=device_type,
        scaling=scaling_of(config),
        imports=imports.records(config.image_parts()),
        picture=picture,
        **_conditions(weights, config),
    )


def _conditions(weights: Weights, config: Config) -> dict[str, Any]:
    """Classes and guidance of the images, as far as there are any."""
    asked, classes = config.guidance(), config.classes()
    every = classes == tuple(range(len(classes))) == tuple(range(int(config.data.classes)))
    return {
        "classes": None if not classes else "all" if every else ",".join(map(str, classes)),
        "guidance": None if asked is None else str(asked),
        "guide": None if weights.guide is None or asked is None else weights.guide.sha256,
    }
