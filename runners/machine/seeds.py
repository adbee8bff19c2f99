"""Seeds: every random number is a function of a few whole numbers."""

from __future__ import annotations

import numpy as np
import torch


def mixed_seed(*numbers: int) -> int:
    """Mix whole numbers into one seed of 63 bits. Near numbers give unrelated seeds."""
    state = np.random.SeedSequence(numbers).generate_state(2, np.uint32)
    return (int(state[0]) << 32 | int(state[1])) >> 1


def seed_step(seed: int, rank: int, step: int) -> None:
    """Seed PyTorch's generators with these three numbers."""
    torch.manual_seed(mixed_seed(seed, rank, step))
