"""From features to figures, by the metrics that the config names."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, SupportsFloat

import torch
from torch import Tensor

from configs.parts import Part
from configs.schema import Config
from configs.schema.specs import Spec
from datasets import ImageDataset
from functions import metrics
from models.features import Extractor
from runners.machine.processes import Ranks
from runners.measure.reference import Reference

log = logging.getLogger("skip_step")


def extractor_for(config: Config, dataset: ImageDataset, cache: Path, ranks: Ranks) -> Extractor:
    """Open the extractor that the config names. The first process downloads or trains it, at most
    once; the others then find it in the cache.
    """
    spec = config.extractor()

    def make() -> Extractor:
        return spec.build(dataset, cache, ranks.device, **spec.options)

    def prepare() -> None:
        make()

    if ranks.world > 1:
        ranks.on_first(prepare)
    return make()


def measured(config: Config, logits: bool) -> Iterator[Spec]:
    """Metrics of the config that can be measured. logits: whether the extractor gives them."""
    return (spec for spec in config.metrics() if logits or not spec.part.facts.needs_logits)


def measure(
    features: Tensor,
    logits: Tensor | None,
    reference: Reference,
    extractor: Extractor,
    config: Config,
    device: torch.device,
) -> dict[str, float | None]:
    """Measure samples by every metric: figures by label, a deviation under its label + "_std".
    None: the metric has no finite value, which a warning says.
    """
    seen = metrics.Seen(features, logits, reference, device)
    figures: dict[str, float | None] = {}
    for spec in measured(config, logits is not None):
        label = metrics.label(spec.part.facts.label, extractor, len(features))
        found = spec.build(seen, **spec.options)
        value, *deviation = found if isinstance(found, tuple) else (found,)
        figures[label] = _finite(value, spec.part)
        figures |= {f"{label}_std": _finite(std, spec.part) for std in deviation}
    return figures


def _finite(value: SupportsFloat, part: Part[Any, Any]) -> float | None:
    if math.isfinite(found := float(value)):
        return found
    log.warning("%s (%s) gives %s; its place stays empty", part, part.place, found)
    return None
