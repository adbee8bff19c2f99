"""Statistics of the real images, which samples are measured against."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from datasets import ImageDataset
from functions import metrics
from models import checkpoint
from models.features import Extractor
from runners.machine.processes import Ranks
from runners.sampling.blocks import blocks

log = logging.getLogger("skip_step")

KEPT_FEATURES = 50_000  # of the real images, for KID, precision and recall
FEWEST = 4  # images that precision and recall are defined for
DRAWS = 5  # of real images, measured like samples


@dataclass(frozen=True)
class Reference:
    """Statistics of the real images: n of them, mean (D,) and covariance (D, D) in float64,
    features (m, D) of the first m, and the distance between two random halves of those.
    """

    n: int
    mean: Tensor
    cov: Tensor
    features: Tensor
    split_distance: float


def features_of(batches: Iterator[Tensor], extractor: Extractor) -> tuple[Tensor, Tensor | None]:
    """Compute features (n, D) and logits (n, K) or None of uint8 images, float32 on the CPU."""
    features, logits = [torch.empty(0, extractor.dim)], []
    for images in batches:
        found, scores = extractor(images)
        features.append(found.cpu())
        if scores is not None:
            logits.append(scores.cpu())
    return torch.cat(features), torch.cat(logits) if logits else None


def reference_for(
    dataset: ImageDataset, extractor: Extractor, cache: Path, batch: int, ranks: Ranks
) -> Reference:
    """Read the statistics of a data set from the cache, or compute them on all processes.

    Raises ValueError for fewer than FEWEST images.
    """
    name = f"reference-{dataset.fingerprint()[:16]}-{extractor.hash[:16]}.pth"
    path = cache / name
    if len(dataset) < FEWEST:
        raise ValueError(
            f"data set {dataset.name} has {len(dataset)} images; a metric needs {FEWEST}"
        )
    if ranks.on_first(path.exists):
        log.info("reference statistics from %s", path)
        return Reference(**checkpoint.load(path))
    log.info("computing reference statistics of %d images", len(dataset))
    found = _compute_reference(dataset, extractor, batch, ranks)

    def keep() -> None:
        cache.mkdir(parents=True, exist_ok=True)  # an extractor of given weights has not made it
        checkpoint.save(path, vars(found))

    ranks.on_first(keep)
    return found


def _compute_reference(
    dataset: ImageDataset, extractor: Extractor, batch: int, ranks: Ranks
) -> Reference:
    share = range(len(dataset))[ranks.rank :: ranks.world]
    moments, kept = metrics.Moments(), [torch.empty(0, extractor.dim)]
    for part in blocks(share, batch):
        features, _ = features_of(iter([dataset.images(part)]), extractor)
        moments.add(features)
        kept.append(features[[i for i, index in enumerate(part) if index < KEPT_FEATURES]])
    indices = ranks.gather(torch.tensor([i for i in share if i < KEPT_FEATURES]).long())
    shift = moments.mean if ranks.first else torch.zeros(extractor.dim, dtype=torch.float64)
    shift = ranks.sum(shift).cpu()
    count, total, outer = (ranks.sum(part).cpu() for part in moments.sums(shift))
    everything = metrics.Moments.from_sums(count, total, outer, shift)
    features = ranks.gather(torch.cat(kept))[indices.argsort()]  # KID draws by position
    return Reference(
        everything.n,
        everything.mean,
        everything.cov,
        features,
        metrics.split_distance(features),
    )


def same_size_distance(reference: Reference, count: int) -> float | None:
    """Distance of `count` random real images to all of them: that of a perfect model's samples.

    The mean of DRAWS draws, of one where all kept features are needed. None where `count` reaches
    the size of the data set, or exceeds the features that are kept.
    """
    kept = reference.features
    if count > len(kept) or count >= reference.n:
        return None
    found = []
    for seed in range(DRAWS if count < len(kept) else 1):
        drawn = torch.randperm(len(kept), generator=torch.Generator().manual_seed(seed))[:count]
        real = metrics.Moments().add(kept[drawn])
        found.append(metrics.frechet(real.mean, real.cov, reference.mean, reference.cov))
    return sum(found) / len(found)
