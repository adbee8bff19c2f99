"""Seeds: every random number is a function of a few whole numbers."""

from __future__ import annotations

import numpy as np
import torch

# numpy imports its random module when it is first used, and swallows what a signal handler raises
# meanwhile; imported here, before any handler is in place.
from numpy.random import SeedSequence


def mixed_seed(*numbers: int) -> int:
    """Mix whole numbers into one seed of 63 bits. Near numbers give unrelated seeds."""
    state = SeedSequence(numbers).generate_state(2, np.uint32)
    return (int(state[0]) << 32 | int(state[1])) >> 1


def seed_step(seed: int, rank: int, step: int) -> None:
    """Seed PyTorch's generators with these three numbers."""
    torch.manual_seed(mixed_seed(seed, rank, step))
