"""From images to figures: features, reference statistics, FID and its companions, held-out loss."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from configs.schema import Config
from datasets import ImageDataset
from functions import metrics
from models.features import EXTRACTORS, Extractor
from runners.machine.processes import Ranks
from runners.measure.reference import Reference

log = logging.getLogger("skip_step")


def extractor_for(config: Config, dataset: ImageDataset, cache: Path, ranks: Ranks) -> Extractor:
    """The extractor that the config names. The first process downloads or trains it, at most
    once; the others then find it in the cache.
    """

    def make() -> Extractor:
        name, weights = config.evaluation.features, config.evaluation.inception_weights
        options = {"weights": weights} if name == "inception" else {}
        return EXTRACTORS[name](dataset, cache, ranks.device, **options)

    def prepare() -> None:
        make()

    if ranks.world > 1:
        ranks.on_first(prepare)
    return make()


def measure(
    features: Tensor,
    logits: Tensor | None,
    reference: Reference,
    extractor: Extractor,
    config: Config,
    device: torch.device,
) -> dict[str, Any]:
    """Every figure of a set of samples, under the name it may be shown with."""
    n, evaluation = len(features), config.evaluation
    moments = metrics.Moments().add(features)
    figures: dict[str, Any] = {
        metrics.label("FID", extractor, n): metrics.frechet(
            moments.mean, moments.cov, reference.mean, reference.cov
        )
    }
    kid, kid_std = metrics.kid(
        features, reference.features, evaluation.kid_subsets, evaluation.kid_subset_size
    )
    figures[metrics.label("KID", extractor, n)] = kid
    figures[metrics.label("KID", extractor, n) + "_std"] = kid_std
    precision, recall = metrics.precision_recall(reference.features.to(device), features.to(device))
    figures[metrics.label("precision", extractor, n)] = precision
    figures[metrics.label("recall", extractor, n)] = recall
    if logits is not None:
        score, score_std = metrics.inception_score(logits, splits=min(10, n))
        figures[metrics.label("IS", extractor, n)] = score
        figures[metrics.label("IS", extractor, n) + "_std"] = score_std
    return figures
