"""Between several draws of noise, or several states: on the arc, where the norm is kept.

Spherical interpolation: Shoemake 1985; of a diffusion model's noise: Song, Meng & Ermon 2021
(2010.02502, eq. 67).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Place = tuple[float, ...]  # one or two coordinates in [0, 1]


def slerp(a: Tensor, b: Tensor, u: float) -> Tensor:
    """The point at u in [0, 1] on the arc from a to b, single vectors of any one shape; the dtype
    of `a`, worked out in float64. u = 0 and u = 1 are a and b exactly. On a straight line where
    there is no arc: parallel, opposite or zero vectors.
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
    and along the last two, v from those to these.
    """
    rows = [slerp(corners[i], corners[i + 1], place[0]) for i in range(0, len(corners), 2)]
    return rows[0] if len(rows) == 1 else slerp(rows[0], rows[1], place[1])


def places(corners: int, points: int) -> list[Place]:
    """`points` evenly spaced places from end to end of two corners, points^2 row by row of four."""
    along = [i / (points - 1) for i in range(points)]
    return [(u,) for u in along] if corners == 2 else [(u, v) for v in along for u in along]


class Between:
    """A noise source for images that lie between other sources': every draw, the start's and the
    walk's, is interpolated.

    sources: two or four, each drawing for one image; at: where each image lies.
    """

    def __init__(self, sources: Sequence[Callable[[Tensor], Tensor]], at: Sequence[Place]) -> None:
        self.sources, self.at = sources, at

    def __call__(self, x: Tensor) -> Tensor:
        """Noise shaped like x (len(at), ...)."""
        corners = [source(x[:1]) for source in self.sources]
        return torch.cat([between(corners, place) for place in self.at])
