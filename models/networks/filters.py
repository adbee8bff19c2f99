"""Resampling with a low-pass filter, of NCSN++ (Song et al. 2021, arXiv 2011.13456)."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.networks.blocks import Downsample, Upsample


class Filter(nn.Module):
    """Low-pass filter with `taps` along both axes, zeros beyond the border.

    Stride 2: (B, C, H, W) -> (B, C, H/2, W/2), each new pixel centred on four old ones. Stride 1:
    -> (B, C, H + 1, W + 1), to be followed by a 3x3 convolution of stride 2 without padding.
    """

    kernel: Tensor

    def __init__(self, taps: Sequence[float], stride: int):
        super().__init__()
        self.stride, self.padding = stride, len(taps) // 2 - (stride == 2)
        self.register_buffer("kernel", _kernel(taps).flip(2, 3), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Filter each channel separately."""
        kernel = self.kernel.expand(x.shape[1], -1, -1, -1)
        return F.conv2d(x, kernel, None, self.stride, self.padding, groups=x.shape[1])


class Grow(nn.Module):
    """Upsampling (B, C, H, W) -> (B, C, 2H, 2W): zeros between the pixels, then a `Filter`."""

    kernel: Tensor

    def __init__(self, taps: Sequence[float]):
        super().__init__()
        self.padding = len(taps) // 2 - 1
        self.register_buffer("kernel", 4 * _kernel(taps), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Double both sides of x."""
        kernel = self.kernel.expand(x.shape[1], -1, -1, -1)
        return F.conv_transpose2d(x, kernel, None, 2, self.padding, groups=x.shape[1])


class Shrink(nn.Module):
    """Downsampling (B, channels, H, W) -> (B, out, H/2, W/2): `Filter` (taps None: none), then a
    3x3 convolution of stride 2.
    """

    def __init__(self, channels: int, out: int, taps: Sequence[float] | None):
        super().__init__()
        # without a filter: TensorFlow's "SAME", one row of zeros below and one column to the right
        self.filter = Filter(taps, stride=1) if taps else nn.ZeroPad2d((0, 1, 0, 1))
        self.conv = nn.Conv2d(channels, out, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """Halve both sides of x."""
        return self.conv(self.filter(x))


def smaller(channels: int, taps: Sequence[float] | None) -> nn.Module:
    """Make the module that halves both sides: a `Filter`, or without taps the mean of 2x2."""
    return Filter(taps, stride=2) if taps else Downsample(channels, with_conv=False)


def larger(channels: int, taps: Sequence[float] | None) -> nn.Module:
    """Make the module that doubles both sides: `Grow`, or without taps nearest neighbour."""
    return Grow(taps) if taps else Upsample(channels, with_conv=False)


def _kernel(taps: Sequence[float]) -> Tensor:
    """Outer product (1, 1, n, n) of the taps, normalised to sum 1."""
    row = torch.tensor(taps, dtype=torch.float64)
    return torch.outer(row, row).div(row.sum() ** 2).to(torch.get_default_dtype())[None, None]
