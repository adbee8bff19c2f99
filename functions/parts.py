"""Kinds of parts of the mathematics: their registries and the facts that each part states."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from configs.parts import Facts, PartError, Registry

if TYPE_CHECKING:
    from functions.process import Process


@dataclass(frozen=True, kw_only=True)
class SamplerFacts(Facts):
    """Facts of a sampler.

    order: of convergence, in words. nfe: network evaluations for S steps, in words. adaptive:
    whether the sampler chooses its own steps and takes only the ends of a time grid.
    """

    order: str
    nfe: str
    adaptive: bool = False


@dataclass(frozen=True, kw_only=True)
class GridFacts(Facts):
    """Facts of a time grid.

    count: called as count(process, **options) where the options alone say how many steps the grid
    has; it raises ValueError as the grid does.
    """

    count: Callable[..., int] | None = None


@dataclass(frozen=True, kw_only=True)
class LossFacts(Facts):
    """Facts of a loss.

    compares: what a loss weight acts on: the squared error of the network's own "prediction", or
    that of "eps" (or a fixed factor of it), whatever the network predicts. check: called as
    check(process, **options) before training; it raises ValueError where the loss is not defined
    for the process with these options. warn: called alike; it returns a line to print before
    training, or "". learned: whether the loss trains a learned variance: "no", it "may", or it
    "must" have one.

    A loss may have a parameter `weight`, None or (B,), and weigh a part of itself only; else its
    caller multiplies it by the weight.
    """

    compares: Literal["prediction", "eps"] = "prediction"
    check: Callable[..., None] | None = None
    warn: Callable[..., str] | None = None
    learned: Literal["no", "may", "must"] = "no"


@dataclass(frozen=True, kw_only=True)
class MetricFacts(Facts):
    """Facts of a metric.

    label: short name ("FID"), to which features and number of samples are added. lower_is_better:
    the direction. unit: "squared distance", "share" (from 0 to 1), "score", ... needs_logits:
    whether the feature extractor must give class logits.
    """

    unique: ClassVar[tuple[str, ...]] = ("label",)

    label: str
    lower_is_better: bool
    unit: str
    needs_logits: bool = False

    def match(self, build: Callable[..., Any]) -> None:
        options = list(inspect.signature(build).parameters.values())[1:]
        if bare := [p.name for p in options if p.default is p.empty]:
            raise PartError(f"has no default for {bare[0]}; --fid measures it without being told")


@dataclass(frozen=True, kw_only=True)
class AnnealFacts(Facts):
    """to_the_end: whether the learning rate depends on the length of the training."""

    to_the_end: bool


PROCESSES: Registry[Callable[..., Process], Facts] = Registry("process", Facts, ("image_size",))
SCHEDULES: Registry[Callable[..., Any], Facts] = Registry(
    "noise schedule", Facts, ("start", "end", "steps")
)
LOSSES: Registry[Callable[..., Any], LossFacts] = Registry(
    "loss", LossFacts, ("denoiser", "x0", "t", "noise"), called=True, optional=("weight",)
)
WEIGHTS: Registry[Callable[..., Any], Facts] = Registry(
    "loss weight", Facts, ("process", "t"), called=True, optional=("predicts",)
)
TIMES: Registry[Callable[..., Any], Facts] = Registry(
    "density of times", Facts, ("process",), called=True
)
ANNEALS: Registry[Callable[..., float], AnnealFacts] = Registry(
    "learning-rate anneal", AnnealFacts, ("images", "total"), called=True
)
SAMPLERS: Registry[Callable[..., Any], SamplerFacts] = Registry(
    "sampler", SamplerFacts, ("process", "grid"), called=True
)
GRIDS: Registry[Callable[..., Any], GridFacts] = Registry(
    "time grid", GridFacts, ("process", "steps"), called=True
)
SCALES: Registry[Callable[..., Any], Facts] = Registry(
    "eps scale", Facts, ("process",), called=True
)
CLIPS: Registry[Callable[..., Any], Facts] = Registry("clip", Facts)
METRICS: Registry[Callable[..., Any], MetricFacts] = Registry(
    "metric", MetricFacts, ("seen",), called=True
)
