"""Clips: how the expected clean image is kept in range while sampling. (**options) -> Clip."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor

from configs.parts import require
from configs.values import Positive
from functions.parts import CLIPS


@dataclass(frozen=True)
class Clip:
    """Map of the pixels of clean images (B, C, H, W) into [-bound, bound].

    ratio: None to clamp. Else an image is clamped to that quantile of its absolute pixels, from
        bound to `most`, and scaled down to `bound`.
    keep_eps: a step goes on with the noise that was predicted, not with the noise that fits the
        clipped image.
    """

    bound: float = 1.0
    ratio: float | None = None
    most: float = math.inf
    keep_eps: bool = False

    def __call__(self, pixels: Tensor) -> Tensor:
        if self.ratio is None:
            return pixels.clamp(-self.bound, self.bound)
        size = torch.quantile(pixels.abs().flatten(1), self.ratio, dim=1)
        size = size.clamp(self.bound, self.most).view(-1, *[1] * (pixels.ndim - 1))
        return pixels.clamp(-size, size) * (self.bound / size)


@CLIPS.part(title="pixels in [-bound, bound]", paper="2006.11239")
def static(bound: Positive = 1.0, keep_eps: bool = False) -> Clip:
    """Clamp pixels to [-bound, bound].

    keep_eps: see `Clip`; diffusers' DDIM without use_clipped_model_output, its default.
    """
    require(static, bound=bound, keep_eps=keep_eps)
    return Clip(bound, keep_eps=keep_eps)


@CLIPS.part(title="dynamic thresholding: pixels in their own quantile", paper="2205.11487")
def dynamic(
    ratio: Annotated[float, Gt(0), Le(1)] = 0.995,
    most: Annotated[float, Ge(1)] = math.inf,
    keep_eps: bool = False,
) -> Clip:
    """Dynamic thresholding of Imagen (2205.11487, section 2.3): clamp an image to the quantile
    `ratio` of its absolute pixels, at least 1 and at most `most`, and divide by it.

    most: diffusers' sample_max_value. keep_eps: see `Clip`.
    """
    require(dynamic, ratio=ratio, most=most, keep_eps=keep_eps)
    return Clip(1.0, ratio, most, keep_eps)
