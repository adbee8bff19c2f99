"""From features to figures, by the metrics that the config names."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from configs.schema import Config
from configs.schema.specs import Spec
from datasets import ImageDataset
from functions import metrics
from models.features import Extractor
from runners.machine.processes import Ranks
from runners.measure.reference import Reference


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
) -> dict[str, float]:
    """Measure samples by every metric: figures by label, a deviation under its label + "_std"."""
    seen = metrics.Seen(features, logits, reference, device)
    figures: dict[str, float] = {}
    for spec in measured(config, logits is not None):
        label = metrics.label(spec.part.facts.label, extractor, len(features))
        found = spec.build(seen, **spec.options)
        value, *deviation = found if isinstance(found, tuple) else (found,)
        figures[label] = float(value)
        figures |= {f"{label}_std": float(std) for std in deviation}
    return figures
