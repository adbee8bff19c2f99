"""The inception score."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from functions.metrics.base import Seen, check_features
from functions.metrics.kid import SEED
from functions.parts import METRICS


def inception_score(
    logits: Tensor, splits: int = 10, seed: int | None = SEED
) -> tuple[float, float]:
    """Inception score (Salimans et al. 2016): mean and deviation over ``splits`` parts.

    ``exp(E KL(p(y|x) || p(y)))`` of the class probabilities, from logits (n, K). The samples are
    shuffled by ``seed`` first, or kept in order with None. ValueError below one sample per part.
    """
    check_features(logits, "logits", least=1)
    n = len(logits)
    if not 1 <= splits <= n:
        raise ValueError(f"inception score needs 1 to {n} splits for {n} samples, got {splits}")
    logits = logits.detach().cpu()
    if seed is not None:
        logits = logits[torch.from_numpy(np.random.RandomState(seed).permutation(n))]
    log_p, p = logits.double().log_softmax(1), logits.double().softmax(1)
    scores = []
    for i in range(splits):
        part = slice(i * n // splits, (i + 1) * n // splits)
        # a class that underflows to zero everywhere adds nothing: no log of zero
        marginal = p[part].mean(0, keepdim=True).clamp(min=torch.finfo(torch.float64).tiny)
        divergence = (p[part] * (log_p[part] - marginal.log())).sum(1)
        scores.append(float(divergence.mean().exp()))
    return float(np.mean(scores)), float(np.std(scores))


@METRICS.part(
    "is",
    title="inception score",
    paper="1606.03498",
    label="IS",
    lower_is_better=False,
    unit="score",
    needs_logits=True,
)
def _inception_score(seen: Seen) -> tuple[float, float]:
    assert seen.logits is not None  # the part says that it needs them
    return inception_score(seen.logits, splits=min(10, len(seen.logits)))
