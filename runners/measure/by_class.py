"""Figures of each class of a conditional model's samples."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from datasets import ImageDataset
from functions import metrics

ENOUGH = 100  # images, sampled and real, for a distance: fewer say little about a covariance
AGREEMENT = "class agreement"  # label of the share of samples that are seen as the asked class


def by_class(
    asked: Tensor,
    features: Tensor,
    seen: Tensor | None,
    dataset: ImageDataset,
    real: Tensor,
) -> dict[str, Any]:
    """Describe the samples of each class: their number n, the share seen as that class, and the
    Frechet distance to the real images of that class (n and real at least ENOUGH, else null).

    asked: class of every sample (n,); features: (n, D); seen: class that a classifier sees (n,),
    None without one; real: features (m, D) of the first m images of the data set.
    """
    found = {}
    for number in sorted(set(asked.tolist())):
        mine, theirs = features[asked == number], torch.empty(0, features.shape[1])
        if dataset.labels is not None:
            theirs = real[dataset.labels[: len(real)] == number]
        name = dataset.classes[number] if dataset.classes else str(number)
        one: dict[str, Any] = {"name": name, "n": len(mine), "real": len(theirs)}
        if seen is not None:
            one["agreement"] = _share(seen[asked == number] == number)
        many = min(len(mine), len(theirs)) >= ENOUGH
        one["distance"] = _distance(mine, theirs) if many else None
        found[str(number)] = one
    overall = {} if seen is None else {"agreement": _share(seen == asked)}
    return {**overall, "enough": ENOUGH, "classes": found}


def seen_classes(logits: Tensor | None, labels: Tensor | None) -> Tensor | None:
    """Classes (n,) that a classifier trained on these labels sees by its logits (n, K); None for
    logits of other classes, such as Inception's.
    """
    if logits is None or labels is None:
        return None
    known = labels.unique()  # sorted, as the classifier numbers its classes
    return known[logits.argmax(1)] if len(known) == logits.shape[1] else None


def _share(right: Tensor) -> float:
    return float(right.double().mean())


def _distance(mine: Tensor, theirs: Tensor) -> float:
    a, b = metrics.Moments().add(mine), metrics.Moments().add(theirs)
    return metrics.frechet(a.mean, a.cov, b.mean, b.cov)
