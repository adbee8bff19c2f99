"""Improved precision and recall."""

from __future__ import annotations

import torch
from torch import Tensor

from functions.metrics.base import Seen
from functions.metrics.features import check, check_same_size
from functions.parts import METRICS


@METRICS.part(
    title="improved precision",
    paper="1904.06991",
    label="precision",
    lower_is_better=False,
    unit="share",
)
def precision(seen: Seen) -> float:
    """Share of the samples that lie where real images do."""
    return seen.once(_both)[0]


@METRICS.part(
    title="improved recall",
    paper="1904.06991",
    label="recall",
    lower_is_better=False,
    unit="share",
)
def recall(seen: Seen) -> float:
    """Share of the real images that lie where samples do."""
    return seen.once(_both)[1]


def _both(seen: Seen) -> tuple[float, float]:
    return precision_recall(seen.real.features.to(seen.device), seen.features.to(seen.device))


def precision_recall(
    real: Tensor, fake: Tensor, neighborhood: int = 3, batch: int = 10_000
) -> tuple[float, float]:
    """Improved precision and recall (1904.06991, eq. 2).

    Precision: the share of `fake` that lies inside the ball around some real sample whose radius is
    the distance to its `neighborhood`-th nearest neighbour; recall the other way round.

    real, fake: (n, D) and (m, D). batch: bounds the memory; at most batch x max(n, m) distances are
    held at a time.
    """
    real, fake = real.detach(), fake.detach()
    check(real, "real features", least=neighborhood + 1)
    check(fake, "fake features", least=neighborhood + 1)
    check_same_size(real, fake)
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
    """Distance of every sample to its k-th nearest other sample, (n,)."""
    rows = (_distances(part, features, batch) for part in features.split(batch))
    # + 1: the nearest of all is the sample itself
    return torch.cat([row.kthvalue(neighborhood + 1).values for row in rows])


def _distances(rows: Tensor, columns: Tensor, batch: int) -> Tensor:
    return torch.cat([torch.cdist(rows, part) for part in columns.split(batch)], dim=1)
