"""uint8 in, [-1, 1] out, and back, on the device the images are on: the only place that scales.

The DDIM repository's options: `rescaled` (to [-1, 1]; without it [0, 1]), `logit_transform`,
`uniform_dequantization` (x * 255/256 + u/256), `gaussian_dequantization` (x + 0.01 n).
"""

from typing import Protocol

import torch
from torch import Tensor

LAM = 1e-6  # keeps the logit of 0 and 1 finite
DITHER = 4096  # values that u takes


class Scaling(Protocol):
    """The keys of the config's `data` section that say how images enter the model."""

    @property
    def rescaled(self) -> bool:
        """[0, 1] to [-1, 1]."""

    @property
    def logit_transform(self) -> bool:
        """[0, 1] to the logit; excludes `rescaled`."""

    @property
    def uniform_dequantization(self) -> bool:
        """Spread each level evenly over its 1/256."""

    @property
    def gaussian_dequantization(self) -> bool:
        """Add normal noise of deviation 0.01."""


def to_model(images: Tensor, data: Scaling, generator: torch.Generator | None = None) -> Tensor:
    """uint8 images to what the model sees, float32, in [-1, 1] when `rescaled` is set.

    `generator` (on the images' device; None: the global one) draws the dequantisation noise.
    ValueError when `rescaled` and `logit_transform` are both set.
    """
    _check(data)
    x = images.to(torch.float32)
    if data.uniform_dequantization:
        # u on 4096 midpoints: exact in float32, so that `to_uint8` undoes it without exception.
        u = torch.rand(x.shape, generator=generator, device=x.device)
        x = (x + ((u * DITHER).floor() + 0.5) / DITHER) / 256
    else:
        x = x / 255
    if data.gaussian_dequantization:
        x = x + 0.01 * torch.randn(x.shape, generator=generator, device=x.device)
    if data.rescaled:
        return 2 * x - 1
    if data.logit_transform:
        # Gaussian noise leaves [0, 1], where the logit is not defined.
        x = LAM + (1 - 2 * LAM) * x.clamp(0, 1)
        return x.log() - torch.log1p(-x)
    return x


def to_unit(x: Tensor, data: Scaling) -> Tensor:
    """What the model made to [0, 1], clamped, in float32 or better; noise stays in."""
    _check(data)
    x = x if x.dtype == torch.float64 else x.to(torch.float32)
    if data.logit_transform:
        x = (x.sigmoid() - LAM) / (1 - 2 * LAM)
    elif data.rescaled:
        x = (x + 1) / 2
    return x.clamp(0, 1)


def to_uint8(x: Tensor, data: Scaling) -> Tensor:
    """What the model made to uint8: 255 x rounded half up, as torchvision's save_image does.

    Under `uniform_dequantization` level k covers [k, k + 1)/256, so there it is floor(256 x).
    Undoes `to_model` exactly, but for the noise of `gaussian_dequantization`. A NaN has no
    defined result: callers check for it.
    """
    x = to_unit(x, data)
    x = x * 256 if data.uniform_dequantization else x * 255 + 0.5
    return x.clamp(0, 255).to(torch.uint8)


def random_flip(images: Tensor) -> Tensor:
    """Mirror each image (B, C, H, W) left to right with probability 1/2, on its device.

    One coin per image from the global generator, so seeding each step governs it.
    """
    coins = torch.rand(len(images), device=images.device) < 0.5
    return torch.where(coins[:, None, None, None], images.flip(-1), images)


def _check(data: Scaling) -> None:
    if data.rescaled and data.logit_transform:
        raise ValueError("data.rescaled and data.logit_transform exclude each other: set one")
