"""Scaling of images between uint8 and the model's range, on the device that they are on.

No other file scales images. The options are the DDIM repository's: `rescaled` (to [-1, 1]; without
it [0, 1]), `logit_transform`, `uniform_dequantization` (x * 255/256 + u/256) and
`gaussian_dequantization` (x + 0.01 n).
"""

from typing import Protocol

import torch
from torch import Tensor

LAM = 1e-6  # keeps the logit of 0 and 1 finite
DITHER = 4096  # values that u takes


class Scaling(Protocol):
    """Keys of the config's `data` section that say how images enter the model."""

    @property
    def rescaled(self) -> bool:
        """Scale [0, 1] to [-1, 1]."""

    @property
    def logit_transform(self) -> bool:
        """Map [0, 1] to the logit; excludes `rescaled`."""

    @property
    def uniform_dequantization(self) -> bool:
        """Spread each level evenly over an interval of 1/256."""

    @property
    def gaussian_dequantization(self) -> bool:
        """Add normal noise of standard deviation 0.01."""


def drop_labels(labels: Tensor, share: float, no_class: int) -> Tensor:
    """Replace each of the labels (B,) by `no_class` with probability `share` (2207.12598, algorithm
    1).
    """
    return labels.masked_fill(torch.rand(labels.shape, device=labels.device) < share, no_class)


def to_model(images: Tensor, data: Scaling, generator: torch.Generator | None = None) -> Tensor:
    """Scale uint8 images to the model's range: float32, in [-1, 1] with `rescaled`.

    generator: of the dequantisation noise, on the images' device; None for the global one. Raises
    ValueError where `rescaled` and `logit_transform` are both set.
    """
    _check(data)
    x = images.to(torch.float32)
    if data.uniform_dequantization:
        # u takes 4096 midpoints, which float32 holds exactly: `to_uint8` then undoes it exactly
        u = torch.rand(x.shape, generator=generator, device=x.device)
        x = (x + ((u * DITHER).floor() + 0.5) / DITHER) / 256
    else:
        x = x / 255
    if data.gaussian_dequantization:
        x = x + 0.01 * torch.randn(x.shape, generator=generator, device=x.device)
    if data.rescaled:
        return 2 * x - 1
    if data.logit_transform:
        # Gaussian noise leaves [0, 1], and the logit is not defined there
        x = LAM + (1 - 2 * LAM) * x.clamp(0, 1)
        return x.log() - torch.log1p(-x)
    return x


def to_unit(x: Tensor, data: Scaling) -> Tensor:
    """Scale the model's output to [0, 1], clamped, in float32 or float64; noise is not removed."""
    _check(data)
    x = x if x.dtype == torch.float64 else x.to(torch.float32)
    if data.logit_transform:
        x = (x.sigmoid() - LAM) / (1 - 2 * LAM)
    elif data.rescaled:
        x = (x + 1) / 2
    return x.clamp(0, 1)


def to_uint8(x: Tensor, data: Scaling) -> Tensor:
    """Scale the model's output to uint8: 255 x rounded half up, as torchvision's save_image does.

    With `uniform_dequantization` level k covers [k, k + 1)/256, so the result is floor(256 x).
    Inverts `to_model` exactly, except for the noise of `gaussian_dequantization`. The result of a
    NaN is not defined; callers check for it.
    """
    x = to_unit(x, data)
    x = x * 256 if data.uniform_dequantization else x * 255 + 0.5
    return x.clamp(0, 255).to(torch.uint8)


def random_flip(images: Tensor) -> Tensor:
    """Mirror each image (B, C, H, W) left to right with probability 1/2.

    Draws one number per image from the device's global generator, which is seeded at every step.
    """
    coins = torch.rand(len(images), device=images.device) < 0.5
    return torch.where(coins[:, None, None, None], images.flip(-1), images)


def _check(data: Scaling) -> None:
    if data.rescaled and data.logit_transform:
        raise ValueError("data.rescaled and data.logit_transform exclude each other: set one")
