"""Seeds: all randomness is a function of a few numbers."""

from __future__ import annotations

import numpy as np
import torch


def mixed_seed(*numbers: int) -> int:
    """One seed of 63 bits from several numbers; neighbours give unrelated ones."""
    state = np.random.SeedSequence(numbers).generate_state(2, np.uint32)
    return (int(state[0]) << 32 | int(state[1])) >> 1


def seed_step(seed: int, rank: int, step: int) -> None:
    """Make all randomness that follows a function of these three numbers."""
    torch.manual_seed(mixed_seed(seed, rank, step))
