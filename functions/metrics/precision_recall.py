"""Precision and recall."""

from __future__ import annotations

import torch
from torch import Tensor

from functions.metrics.base import Seen, check_features
from functions.parts import METRICS


def precision_recall(
    real: Tensor, fake: Tensor, neighborhood: int = 3, batch: int = 10_000
) -> tuple[float, float]:
    """Improved precision and recall (Kynkaanniemi et al. 2019, eq. 2).

    Precision: the share of ``fake`` that lies inside the ball of some real sample, whose radius
    is the distance to its ``neighborhood``-th nearest neighbour; recall the other way round.
    ``batch`` bounds the memory: no more than batch x max(n) distances at a time.
    """
    real, fake = real.detach(), fake.detach()
    check_features(real, "real features", least=neighborhood + 1)
    check_features(fake, "fake features", least=neighborhood + 1)
    if real.shape[1] != fake.shape[1]:
        raise ValueError(f"features differ in size: {real.shape[1]} and {fake.shape[1]}")
    if neighborhood < 1 or batch < 1:
        raise ValueError(f"neighborhood and batch start at 1, got {neighborhood} and {batch}")
    radius_real = _radius(real, neighborhood, batch)
    radius_fake = _radius(fake, neighborhood, batch)
    precise = torch.zeros(len(fake), dtype=torch.bool, device=fake.device)
    recalled = []
    for part, radius in zip(real.split(batch), radius_real.split(batch), strict=True):
        distance = _distances(part, fake, batch)
        recalled.append((distance <= radius_fake).any(1))
        precise |= (distance <= radius[:, None]).any(0)
    return float(precise.double().mean()), float(torch.cat(recalled).double().mean())


def _radius(features: Tensor, neighborhood: int, batch: int) -> Tensor:
    """Distance to the k-th nearest other sample; the nearest of all is the sample itself."""
    rows = (_distances(part, features, batch) for part in features.split(batch))
    return torch.cat([row.kthvalue(neighborhood + 1).values for row in rows])


def _distances(rows: Tensor, columns: Tensor, batch: int) -> Tensor:
    return torch.cat([torch.cdist(rows, part) for part in columns.split(batch)], dim=1)


@METRICS.part(
    "precision",
    title="improved precision",
    paper="1904.06991",
    label="precision",
    lower_is_better=False,
    unit="share",
)
def _precision(seen: Seen) -> float:
    return seen.precision_recall[0]


@METRICS.part(
    "recall",
    title="improved recall",
    paper="1904.06991",
    label="recall",
    lower_is_better=False,
    unit="share",
)
def _recall(seen: Seen) -> float:
    return seen.precision_recall[1]
