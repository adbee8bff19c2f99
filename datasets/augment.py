"""Augmentation of training images that the network is told of, and that samples do not show.

The transformations, their order and the nine numbers that stand for them are those of EDM
(2206.00364, appendix F.2, table 6), after StyleGAN2-ADA (2006.06676): a network trained there goes
on here. A network that is told nine zeros draws images that are not augmented.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

LABELS = 9  # numbers that stand for an image's transformations
SCALE, STRETCH = 0.2, 0.2  # standard deviations of log2 of a scale and of half a ratio of the sides
SHIFT = 1 / 8  # standard deviation of a shift, in sides of the image
SMALLEST = 4  # pixels on a side
# Low-pass filter of the orthonormal wavelet sym6 (Daubechies' least asymmetric one of 12 taps).
SYM6 = (
    *(0.015404109327027373, 0.0034907120842174702, -0.11799011114819057, -0.048311742585633),
    *(0.4910559419267466, 0.787641141030194, 0.3379294217276218, -0.07263752278646252),
    *(-0.021060292512300564, 0.04472490177066578, 0.0017677118642428036, -0.007800708325034148),
)
CENTRE = 5  # tap of the filter that lies on the pixel


class Drawn(NamedTuple):
    """Transformations of a batch, float32 (B,), shift (B, 2); 0 is none, for flips 1 is one.

    scale, stretch, shift: the normal numbers n; turn, axis: the angles.
    """

    x_flip: Tensor
    y_flip: Tensor
    scale: Tensor
    turn: Tensor
    stretch: Tensor
    axis: Tensor
    shift: Tensor


def augment(images: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """Transform images (B, C, H, W) at random, H and W at least 4; return them, in their dtype, and
    the labels (B, 9), float32, that the network is told.

    Half of the images are mirrored left to right. Each other transformation is drawn for each image
    with probability `share`, independently: a flip upside down (then half of the time), scaling by
    2^(0.2 n), rotation by an angle u, stretching by 2^(0.2 n) along one axis and by its inverse
    along the other (axes turned by u half of the time), and a shift by n/8 of each side; n is
    normal, u uniform in (-pi, pi). The labels are x-flip, y-flip, n of the scale, cos u - 1, sin u,
    n cos u and n sin u of the stretch, and n of the shift in x and y; 0 for what is not drawn.

    The random numbers come from the device's global generator, which is seeded at every step.
    """
    rows, device = len(images), images.device

    def kept(values: Tensor, chance: float = share) -> Tensor:
        return torch.where(torch.rand(rows, device=device) < chance, values, 0.0)

    coins = torch.randint(2, (2, rows), device=device).float()
    scale, stretch, *shift = torch.randn(4, rows, device=device)
    turn, axis = (2 * torch.rand(2, rows, device=device) - 1) * math.pi
    drawn = Drawn(
        x_flip=coins[0],
        y_flip=kept(coins[1]),
        scale=kept(scale),
        turn=kept(turn),
        stretch=kept(stretch),
        axis=kept(axis, 0.5),
        shift=kept(torch.stack(shift)).T,
    )
    return transform(images, drawn), labels_of(drawn)


def labels_of(drawn: Drawn) -> Tensor:
    """Labels (B, 9) that tell a network of these transformations."""
    x_flip, y_flip, scale, turn, stretch, axis, shift = drawn
    return torch.stack(
        [
            *(x_flip, y_flip, scale, turn.cos() - 1, turn.sin()),
            *(stretch * axis.cos(), stretch * axis.sin(), *shift.T),
        ],
        1,
    )


def transform(images: Tensor, drawn: Drawn) -> Tensor:
    """Apply the flips, and then all other transformations of an image in one resampling; an image
    that has none of those stays as it is.
    """
    x_flip, y_flip, scale, turn, stretch, axis, shift = drawn
    for flip, side in ((x_flip, 3), (y_flip, 2)):
        images = torch.where(flip[:, None, None, None] == 1, images.flip(side), images)
    ratio = torch.diag_embed((STRETCH * torch.stack([-stretch, stretch], 1)).exp2())
    linear = _rotation(turn) @ _rotation(-axis) @ ratio @ _rotation(axis)
    linear = linear * (-SCALE * scale).exp2()[:, None, None]
    moved = torch.stack([scale, turn, stretch, *shift.T]).any(0)[:, None, None, None]
    return torch.where(moved, resample(images, linear, SHIFT * shift), images)


def resample(images: Tensor, linear: Tensor, shift: Tensor) -> Tensor:
    """Move the content of images (B, C, H, W): pixel p of the result shows the point
    `linear (p - shift)`, both measured from the centre, (x, y) to the right and down.

    linear: (B, 2, 2); shift: (B, 2), in sides of the image. The resampling is that of the paper's
    code: twice the resolution by the filter sym6, bilinear there, and back by the same filter. That
    keeps more detail than one bilinear step. Beyond its border an image is reflected, as often as
    it takes; the paper's code reflects it once, and shows 0 beyond.
    """
    height, width = images.shape[2:]
    low = torch.tensor(SYM6, dtype=images.dtype, device=images.device)
    kernel = torch.outer(low, low)[None, None]
    ahead = len(SYM6) // 4  # pixels beyond the border that the filter sees
    padded = F.pad(images, (ahead,) * 4, "reflect").flatten(0, 1)[:, None]
    first = 2 * ahead + CENTRE
    double = F.conv_transpose2d(padded, 2 * kernel, stride=2)
    double = double[:, 0, first : first + 2 * height - 1, first : first + 2 * width - 1]
    rows, columns = (
        (torch.arange(2 * n + len(SYM6) - 2, device=images.device) - CENTRE - (n - 1)) / 2
        for n in (height, width)
    )
    points = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), -1)
    sides = points.new_tensor([width, height])
    points = (points - (shift * sides)[:, None, None]) @ linear.mT[:, None]
    places = (2 * points / (sides - 1)).to(images.dtype)
    double = F.grid_sample(
        double.unflatten(0, images.shape[:2]), places, "bilinear", "reflection", align_corners=True
    )
    single = F.conv2d(double.flatten(0, 1)[:, None], kernel / 2, stride=2)
    return single.reshape(images.shape)


def _rotation(angle: Tensor) -> Tensor:
    """Matrices (B, 2, 2) that turn by angles (B,) from x to y."""
    cos, sin = angle.cos(), angle.sin()
    return torch.stack([cos, -sin, sin, cos], 1).unflatten(1, (2, 2))
