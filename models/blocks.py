"""The pieces that the convolutional networks are made of (Ho et al. 2020, arXiv 2006.11239)."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

GROUPS = 32


def sinusoidal(t: Tensor, dim: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Embed times (N,) as (N, dim): sines, then cosines, of t 10000^(-i / (dim/2 - 1)).

    The transformer's position code (1706.03762, section 3.5) in DDPM's form; `dim` is even, >= 4.
    """
    half = dim // 2
    i = torch.arange(half, dtype=dtype, device=t.device)
    angle = t.to(dtype)[:, None] * torch.exp(i * -(math.log(10000) / (half - 1)))
    return torch.cat([angle.sin(), angle.cos()], dim=1)


def group_norm(channels: int) -> nn.GroupNorm:
    """32 groups with the small epsilon that the published weights were trained with."""
    return nn.GroupNorm(GROUPS, channels, eps=1e-6)


class Upsample(nn.Module):
    """(B, C, H, W) -> (B, C, 2H, 2W): nearest neighbour, then a 3x3 convolution if asked."""

    def __init__(self, channels: int, with_conv: bool):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1) if with_conv else None

    def forward(self, x: Tensor) -> Tensor:
        """Double both sides of x."""
        x = F.interpolate(x, scale_factor=2.0, mode="nearest")
        return x if self.conv is None else self.conv(x)


class Downsample(nn.Module):
    """(B, C, H, W) -> (B, C, H/2, W/2): a strided 3x3 convolution, or the mean of 2x2."""

    def __init__(self, channels: int, with_conv: bool):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2) if with_conv else None

    def forward(self, x: Tensor) -> Tensor:
        """Halve both sides of x."""
        if self.conv is None:
            return F.avg_pool2d(x, 2)
        return self.conv(F.pad(x, (0, 1, 0, 1)))  # only right and below, as TensorFlow's SAME


class ResBlock(nn.Module):
    """Two normalised 3x3 convolutions around an additive time embedding, plus the input."""

    def __init__(self, channels: int, out: int, time_channels: int, dropout: float):
        super().__init__()
        self.norm1 = group_norm(channels)
        self.conv1 = nn.Conv2d(channels, out, 3, padding=1)
        self.temb_proj = nn.Linear(time_channels, out)
        self.norm2 = group_norm(out)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = nn.Conv2d(out, out, 3, padding=1)
        self.nin_shortcut = nn.Conv2d(channels, out, 1) if channels != out else None

    def forward(self, x: Tensor, temb: Tensor) -> Tensor:
        """x (B, channels, H, W), activated time embedding (B or 1, D) -> (B, out, H, W)."""
        h = self.conv1(F.silu(self.norm1(x)))
        h = h + self.temb_proj(temb)[:, :, None, None]
        h = self.conv2(self.dropout(F.silu(self.norm2(h))))
        return h + (x if self.nin_shortcut is None else self.nin_shortcut(x))


class Attention(nn.Module):
    """Self-attention over all pixels with one head and a residual connection."""

    def __init__(self, channels: int):
        super().__init__()
        self.norm = group_norm(channels)
        self.q = nn.Conv2d(channels, channels, 1)
        self.k = nn.Conv2d(channels, channels, 1)
        self.v = nn.Conv2d(channels, channels, 1)
        self.proj_out = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """X (B, C, H, W) -> same shape."""
        h = self.norm(x)
        q, k, v = (f(h).flatten(2).transpose(1, 2)[:, None] for f in (self.q, self.k, self.v))
        h = F.scaled_dot_product_attention(q, k, v)[:, 0].transpose(1, 2)
        return x + self.proj_out(h.unflatten(2, x.shape[2:]))
