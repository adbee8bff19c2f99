"""The pieces that the convolutional networks are made of (Ho et al. 2020, arXiv 2006.11239)."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

GROUPS = 32


def sinusoidal(t: Tensor, dim: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Embed times (N,) as (N, dim): sines, then cosines, of t 10000^(-i / (dim/2 - 1)).

    The transformer's position code (arXiv 1706.03762, section 3.5) in DDPM's form. `dim` is even
    and at least 4; `dtype` is that of the calculation and of the answer.
    """
    half = dim // 2
    i = torch.arange(half, dtype=dtype, device=t.device)
    angle = t.to(dtype)[:, None] * torch.exp(i * -(math.log(10000) / (half - 1)))
    return torch.cat([angle.sin(), angle.cos()], dim=1)


def group_norm(channels: int, groups: int = GROUPS) -> nn.GroupNorm:
    """With the small epsilon that the published weights were trained with."""
    return nn.GroupNorm(groups, channels, eps=1e-6)


def norm_silu(norm: nn.Module, x: Tensor) -> Tensor:
    """silu(norm(x)), in place where no gradient can ask for the value in between."""
    return F.silu(norm(x), inplace=not torch.is_grad_enabled())


class TimeEmbedding(nn.Module):
    """Times (N,) -> (N, 4 channels): the position code through two dense layers, activated."""

    def __init__(self, channels: int):
        super().__init__()
        self.channels = channels
        width = 4 * channels
        self.dense = nn.ModuleList([nn.Linear(channels, width), nn.Linear(width, width)])

    def forward(self, t: Tensor, like: Tensor) -> Tensor:
        """Embed t; calculated in float64 where `like` is float64, else in float32."""
        dtype = torch.float64 if like.dtype == torch.float64 else torch.float32
        e = sinusoidal(t, self.channels, dtype).to(like.dtype)
        # Every residual block needs silu(temb), none needs temb: activate once, here.
        return F.silu(self.dense[1](F.silu(self.dense[0](e))))


class Upsample(nn.Module):
    """(B, C, H, W) -> (B, C, 2H, 2W): nearest neighbour, then a 3x3 convolution if asked."""

    def __init__(self, channels: int, with_conv: bool):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1) if with_conv else None

    def forward(self, x: Tensor) -> Tensor:
        """Double both sides of x."""
        if self.conv is None:
            return F.interpolate(x, scale_factor=2.0, mode="nearest")
        # Counted in multiplications the short way costs 4/9; it was measured on CPUs only, where
        # pictures below 8x8 are not worth preparing the weights for.
        if x.device.type == "cpu" and x.shape[2] >= 8:
            return F.conv_transpose2d(x, _spread(self.conv.weight), self.conv.bias, 2, padding=1)
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))


def _spread(weight: Tensor) -> Tensor:
    """(O, I, 3, 3) -> (I, O, 4, 4): doubling and convolution as one transposed convolution.

    Each weight meets a 2x2 block of equal pixels, so it is spread over a 2x2 block of taps.
    """
    taps = weight.flip(2, 3).transpose(0, 1)
    corners = ((0, 1, 0, 1), (1, 0, 0, 1), (0, 1, 1, 0), (1, 0, 1, 0))
    return torch.stack([F.pad(taps, corner) for corner in corners]).sum(0)


class Downsample(nn.Module):
    """(B, C, H, W) -> (B, C, H/2, W/2): a strided 3x3 convolution, or the mean of 2x2."""

    def __init__(self, channels: int, with_conv: bool):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2) if with_conv else None

    def forward(self, x: Tensor) -> Tensor:
        """Halve both sides of x."""
        if self.conv is None:
            return F.avg_pool2d(x, 2)
        return self.conv(F.pad(x, (0, 1, 0, 1)))  # right and below only: TensorFlow's "SAME"


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
        h = self.conv1(norm_silu(self.norm1, x))
        h = h + self.temb_proj(temb)[:, :, None, None]
        h = self.conv2(self.dropout(norm_silu(self.norm2, h)))
        return (x if self.nin_shortcut is None else self.nin_shortcut(x)) + h


class Attention(nn.Module):
    """Self-attention over all pixels, one head, with a residual connection.

    The weights are 1x1 convolutions, as in the published files; they are applied as dense layers
    over (B, HW, C), which costs no copy in channels_last and gives attention unit strides.
    """

    def __init__(self, channels: int, groups: int = GROUPS):
        super().__init__()
        self.norm = group_norm(channels, groups)
        self.q = nn.Conv2d(channels, channels, 1)
        self.k = nn.Conv2d(channels, channels, 1)
        self.v = nn.Conv2d(channels, channels, 1)
        self.proj_out = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        h = self.norm(x).flatten(2).transpose(1, 2)
        q, k, v = (_dense(layer, h)[:, None] for layer in (self.q, self.k, self.v))
        h = _dense(self.proj_out, F.scaled_dot_product_attention(q, k, v)[:, 0])
        return x + h.transpose(1, 2).unflatten(2, x.shape[2:])


def _dense(conv: nn.Conv2d, h: Tensor) -> Tensor:
    return F.linear(h, conv.weight.flatten(1), conv.bias)


def check_counts(
    in_channels: int, out_ch: int, ch_mult: Sequence[int], num_res_blocks: int, dropout: float
) -> None:
    """Raise ValueError, naming the key, for numbers that no network can have."""
    for key, value in (
        ("in_channels", in_channels),
        ("out_ch", out_ch),
        ("num_res_blocks", num_res_blocks),
    ):
        if value < 1:
            raise ValueError(f"{key}: {value} must be at least 1")
    if not ch_mult or any(m < 1 for m in ch_mult):
        raise ValueError(f"ch_mult: {list(ch_mult)} must be one or more whole numbers from 1 on")
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout: {dropout} must lie in [0, 1)")


def level_sides(image_size: int, levels: int, attn_resolutions: Sequence[int]) -> list[int]:
    """The side of the picture at every level; ValueError where one is no whole number, or where
    attention is asked for at a side that no level has.
    """
    factor = 2 ** (levels - 1)
    if image_size < factor or image_size % factor:
        fit = max(1, round(image_size / factor)) * factor
        raise ValueError(
            f"image_size: {image_size} must be divisible by {factor}, as ch_mult has {levels} "
            f"levels; {fit} fits, or a shorter ch_mult"
        )
    sides = [image_size >> i for i in range(levels)]
    lost = [side for side in attn_resolutions if side not in sides]
    if lost:
        raise ValueError(f"attn_resolutions: {lost} not among the sides of the levels, {sides}")
    return sides


def check_conditions(batch: int, t: Tensor, label: None) -> None:
    """Raise ValueError unless t is (batch,) or (1,) and there is no label."""
    if t.ndim != 1 or t.shape[0] not in (1, batch):
        raise ValueError(f"t has shape {tuple(t.shape)}; it must be ({batch},) or (1,)")
    if label is not None:
        raise ValueError("this network is unconditional: label must be None")
