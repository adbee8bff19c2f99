"""From images to figures: features, reference statistics, FID and its companions, held-out loss."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from configs.schema import Config
from datasets import ImageDataset
from datasets.transforms import to_model
from functions import metrics
from functions.denoiser import Denoiser
from functions.loss import LOSSES
from functions.times import TIMES
from models import checkpoint
from models.features import Extractor, classifier, inception
from runners.machine.processes import Ranks
from runners.sampling.drawer import blocks
from runners.train.journal import Window
from runners.train.trainer import autocast, seed_step

log = logging.getLogger("skip_step")

KEPT_FEATURES = 50_000  # of the reference, for KID and precision/recall
FEWEST = 4  # images that precision and recall are defined for
DRAWS = 5  # of real images that are measured like samples
HELD_OUT_BLOCK = 64  # held-out images per draw of times and noise: not the batch size, which varies


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


def extractor_for(config: Config, dataset: ImageDataset, cache: Path, ranks: Ranks) -> Extractor:
    """The extractor that the config names. The first process downloads or trains it, at most
    once; the others then find it in the cache.
    """

    def make() -> Extractor:
        if config.evaluation.features == "inception":
            weights = config.evaluation.inception_weights
            return inception(Path(weights) if weights else None, ranks.device)
        if dataset.labels is None:
            raise ValueError(
                f"--features classifier needs labels, and data set {dataset.name} has none; put "
                "each class into a sub-folder of its own, or use --features inception"
            )
        images = dataset.images(range(len(dataset)))
        return classifier(images, dataset.labels, cache, ranks.device)

    def prepare() -> None:
        make()

    if ranks.world > 1:
        ranks.on_first(prepare)
    return make()


def features_of(batches: Iterator[Tensor], extractor: Extractor) -> tuple[Tensor, Tensor | None]:
    """Features (n, D) and logits (n, K) or None of uint8 images, float32 on the CPU."""
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
    """Statistics of a data set, from the cache where they are, else computed by all processes."""
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
        cache.mkdir(parents=True, exist_ok=True)  # given weights leave nothing there
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
    """The distance of `count` random real images to the whole reference, the mean of DRAWS draws
    (one where all kept features are needed): what as many samples of a perfect model would have.

    None where that cannot be known: `count` is no smaller than the data set, or more than is kept.
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


@torch.no_grad()
def held_out_loss(
    denoiser: Denoiser, dataset: ImageDataset, config: Config, ranks: Ranks, most: int | None = None
) -> dict[str, float]:
    """The training objective on held-out images, its mean and its means by quartile of t.

    Times and noise depend on (seed, image block) only, so that two sets of weights are compared
    on the same draws. most: use no more than so many images.
    """
    window = Window(denoiser.process, ranks)
    times, loss = TIMES[config.training.times](denoiser.process), LOSSES[config.loss.name]
    count = min(len(dataset), most or len(dataset))
    parts = list(blocks(range(count), HELD_OUT_BLOCK))
    for number in range(ranks.rank, len(parts), ranks.world):
        seed_step(config.seed, 2**31, number)
        x0 = to_model(dataset.images(parts[number]), config.data).to(ranks.device)
        t, _ = times.sample(len(x0))
        t, noise = t.to(ranks.device), denoiser.process.noise(x0)
        with autocast(config.training.precision, ranks.device):
            values = loss(denoiser, x0, t, noise, **config.loss.options)
        window.add(t, values.float())
    values_by_name = window.report()
    del values_by_name["images_per_second"]
    return values_by_name
