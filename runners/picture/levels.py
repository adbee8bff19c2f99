"""Amounts of image and of noise in a state."""

from __future__ import annotations

import torch

from functions.process import Process


def levels(process: Process, t: float) -> tuple[float, float]:
    """Share of the clean image in a pixel at time t, and standard deviation of the noise in it,
    both root mean square over pixels.
    """
    time = torch.tensor(t, dtype=torch.float64)
    mean, factor = process.mean(time), process.factor(time)
    noise = (factor @ factor.mT)[..., 0, 0].mean().sqrt()
    return float(mean[..., 0, 0].square().mean().sqrt()), float(noise)
