"""Inception score."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from configs.values import Count
from functions.metrics.base import Seen
from functions.metrics.features import SEED, check
from functions.parts import METRICS


@METRICS.part(
    "is",
    title="inception score",
    paper="1606.03498",
    label="IS",
    lower_is_better=False,
    unit="score",
    needs_logits=True,
)
def _score(seen: Seen, splits: Count = 10) -> tuple[float, float]:
    """Inception score of the samples and its deviation over `splits` parts, fewer where there are
    fewer samples. Raises ValueError for features without class logits.
    """
    if seen.logits is None:
        raise ValueError("the inception score needs class logits, and these features have none")
    return inception_score(seen.logits, min(splits, len(seen.logits)))


def inception_score(
    logits: Tensor, splits: int = 10, seed: int | None = SEED
) -> tuple[float, float]:
    """Inception score: mean and standard deviation over `splits` parts of the samples.

    `exp(E KL(p(y|x) || p(y)))` of the class probabilities (1606.03498, section 4).

    logits: (n, K). seed: of the shuffle before the split, None to keep the order. Raises ValueError
    below one sample per part.
    """
    check(logits, "logits", least=1)
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
