"""Spherical interpolation between draws of noise or between states; it keeps their norm.

Shoemake 1985; of a diffusion model's noise: 2010.02502, eq. 67.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Place = tuple[float, ...]  # one or two coordinates in [0, 1]


def slerp(a: Tensor, b: Tensor, u: float) -> Tensor:
    """Point at u in [0, 1] on the arc from a to b, two vectors of any one shape; dtype of `a`,
    computed in float64. u = 0 gives a and u = 1 gives b exactly. Parallel, opposite and zero
    vectors, which have no arc, are interpolated linearly.
    """
    one, two = a.double(), b.double()
    norms = torch.linalg.vector_norm(one) * torch.linalg.vector_norm(two)
    angle = torch.arccos(((one * two).sum() / norms).clamp(-1, 1))
    if not torch.sin(angle) > 1e-6:  # a NaN too
        return torch.lerp(one, two, u).to(a)
    left, right = torch.sin((1 - u) * angle), torch.sin(u * angle)
    return ((left * one + right * two) / torch.sin(angle) if 0 < u < 1 else (b, a)[u == 0]).to(a)


def between(corners: Sequence[Tensor], place: Place) -> Tensor:
    """Interpolate at `place`: u between two corners; (u, v) among four, u along the first two
    and along the last two, v from the first two to the last two.
    """
    rows = [slerp(corners[i], corners[i + 1], place[0]) for i in range(0, len(corners), 2)]
    return rows[0] if len(rows) == 1 else slerp(rows[0], rows[1], place[1])


def places(corners: int, points: int) -> list[Place]:
    """Evenly spaced places: `points` between two corners, points^2 among four, row by row."""
    along = [i / (points - 1) for i in range(points)]
    return [(u,) for u in along] if corners == 2 else [(u, v) for v in along for u in along]


class Between:
    """Noise source for interpolated images: every draw, at the start and on the way, is
    interpolated between the draws of other sources.

    sources: two or four, each draws for one image. at: place of each image.
    """

    def __init__(self, sources: Sequence[Callable[[Tensor], Tensor]], at: Sequence[Place]) -> None:
        self.sources, self.at = sources, at

    def __call__(self, x: Tensor) -> Tensor:
        """Noise shaped like x (len(at), ...)."""
        corners = [source(x[:1]) for source in self.sources]
        return torch.cat([between(corners, place) for place in self.at])
