"""Building blocks of the convolutional networks (Ho et al. 2020, arXiv 2006.11239)."""

import math
from collections.abc import Sequence
from typing import Annotated

import torch
import torch.nn.functional as F
from annotated_types import MinLen
from torch import Tensor, nn

from configs.values import Count

GROUPS = 32  # of the group normalisation
SHAPE = {  # see NetworkFacts
    **{"image_size": "side", "in_channels": "channels", "out_ch": "answer"},
    "num_classes": "classes",
}
Widths = Annotated[Sequence[Count], MinLen(1)]  # width of each level, as a multiple of `ch`


def sinusoidal(t: Tensor, dim: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Embed times (N,) as (N, dim): sines, then cosines, of t 10000^(-i / (dim/2 - 1)).

    The position encoding of the transformer in DDPM's form. dim: even, at least 4; dtype: of the
    calculation and of the result.
    """
    half = dim // 2
    i = torch.arange(half, dtype=dtype, device=t.device)
    # 1706.03762, section 3.5, with dim/2 - 1 in place of dim/2
    angle = t.to(dtype)[:, None] * torch.exp(i * -(math.log(10000) / (half - 1)))
    return torch.cat([angle.sin(), angle.cos()], dim=1)


def group_norm(channels: int, groups: int = GROUPS) -> nn.GroupNorm:
    """Make a group normalisation with epsilon 1e-6, as the published weights were trained."""
    return nn.GroupNorm(groups, channels, eps=1e-6)


def norm_silu(norm: nn.Module, x: Tensor) -> Tensor:
    """Compute silu(norm(x)), in place where no gradient needs the value in between."""
    return F.silu(norm(x), inplace=not torch.is_grad_enabled())


class TimeEmbedding(nn.Module):
    """Time embedding (N,) -> (N, 4 channels): `sinusoidal`, then two dense layers with SiLU.

    num_classes: rows of a label embedding that is added before the last SiLU, None for none.
    """

    def __init__(self, channels: int, num_classes: int | None = None):
        super().__init__()
        self.channels = channels
        width = 4 * channels
        self.dense = nn.ModuleList([nn.Linear(channels, width), nn.Linear(width, width)])
        self.label = label_embedding(num_classes, width)

    def forward(self, t: Tensor, like: Tensor, label: Tensor | None = None) -> Tensor:
        """Embed t. The waves are computed in float64 where `like` is float64, else in float32.

        label: int64 (B,), exactly where there is a label embedding; the result is then (B, D).
        """
        dtype = torch.float64 if like.dtype == torch.float64 else torch.float32
        e = sinusoidal(t, self.channels, dtype).to(like.dtype)
        # Every residual block needs silu(temb) and none needs temb, so SiLU is applied once, here.
        return F.silu(with_label(self.dense[1](F.silu(self.dense[0](e))), self.label, label))


def label_embedding(num_classes: int | None, width: int) -> nn.Embedding | None:
    """Make an embedding of labels, one row each; None without classes: no weights, no draws."""
    return None if num_classes is None else nn.Embedding(num_classes, width)


def with_label(temb: Tensor, rows: nn.Embedding | None, label: Tensor | None) -> Tensor:
    """Add the rows of labels (B,) to a time embedding (B, D) or (1, D), where there are rows."""
    return temb if rows is None else temb + rows(label).to(temb.dtype)


class Upsample(nn.Module):
    """Upsampling (B, C, H, W) -> (B, C, 2H, 2W): nearest neighbour; with_conv: a 3x3 convolution
    after it.
    """

    def __init__(self, channels: int, with_conv: bool):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1) if with_conv else None

    def forward(self, x: Tensor) -> Tensor:
        """Double both sides of x."""
        if self.conv is None:
            return F.interpolate(x, scale_factor=2.0, mode="nearest")
        # One transposed convolution needs 4/9 of the multiplications. Measured on CPUs only; below
        # 8x8 pixels, preparing its weights costs more than it saves.
        if x.device.type == "cpu" and x.shape[2] >= 8:
            return F.conv_transpose2d(x, _spread(self.conv.weight), self.conv.bias, 2, padding=1)
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))


def _spread(weight: Tensor) -> Tensor:
    """Weights (O, I, 3, 3) -> weights (I, O, 4, 4) of one transposed convolution that doubles the
    sides and convolves: each weight meets a 2x2 block of equal pixels, so it is added to a 2x2
    block of taps.
    """
    taps = weight.flip(2, 3).transpose(0, 1)
    corners = ((0, 1, 0, 1), (1, 0, 0, 1), (0, 1, 1, 0), (1, 0, 1, 0))
    return torch.stack([F.pad(taps, corner) for corner in corners]).sum(0)


class Downsample(nn.Module):
    """Downsampling (B, C, H, W) -> (B, C, H/2, W/2): a 3x3 convolution of stride 2; without
    with_conv the mean of 2x2 pixels.
    """

    def __init__(self, channels: int, with_conv: bool):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2) if with_conv else None

    def forward(self, x: Tensor) -> Tensor:
        """Halve both sides of x."""
        if self.conv is None:
            return F.avg_pool2d(x, 2)
        return self.conv(F.pad(x, (0, 1, 0, 1)))  # TensorFlow's "SAME"


class ResBlock(nn.Module):
    """Residual block: two normalised 3x3 convolutions with the time embedding added in between."""

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
        """Map x (B, channels, H, W) to (B, out, H, W). temb: (B, D), or (1, D) for all."""
        h = self.conv1(norm_silu(self.norm1, x))
        h = h + self.temb_proj(temb)[:, :, None, None]
        h = self.conv2(self.dropout(norm_silu(self.norm2, h)))
        return (x if self.nin_shortcut is None else self.nin_shortcut(x)) + h


class Attention(nn.Module):
    """Self-attention over all pixels with one head and a residual connection.

    The weights have the shape of 1x1 convolutions, as in the published files. They are applied as
    dense layers on (B, HW, C): in channels_last this view needs no copy.
    """

    def __init__(self, channels: int, groups: int = GROUPS):
        super().__init__()
        self.norm = group_norm(channels, groups)
        self.q = nn.Conv2d(channels, channels, 1)
        self.k = nn.Conv2d(channels, channels, 1)
        self.v = nn.Conv2d(channels, channels, 1)
        self.proj_out = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C, H, W)."""
        h = self.norm(x).flatten(2).transpose(1, 2)
        q, k, v = (dense(layer, h)[:, None] for layer in (self.q, self.k, self.v))
        h = dense(self.proj_out, F.scaled_dot_product_attention(q, k, v)[:, 0])
        return x + h.transpose(1, 2).unflatten(2, x.shape[2:])


def dense(conv: nn.Conv1d | nn.Conv2d, h: Tensor) -> Tensor:
    """Apply a convolution of one pixel to h (..., C)."""
    return F.linear(h, conv.weight.flatten(1), conv.bias)


def level_sides(image_size: int, levels: int, attn_resolutions: Sequence[int]) -> list[int]:
    """Compute the side in pixels of every level.

    Raises ValueError where a side is not a whole number, or no level has a side of
    `attn_resolutions`.
    """
    factor = 2 ** (levels - 1)
    if image_size % factor:
        fit = max(1, round(image_size / factor)) * factor
        raise ValueError(
            f"image_size: {image_size} must be divisible by {factor}, because the network has "
            f"{levels} levels; {fit} fits, or fewer levels"
        )
    sides = [image_size >> i for i in range(levels)]
    lost = [side for side in attn_resolutions if side not in sides]
    if lost:
        raise ValueError(f"attn_resolutions: {lost} must be among the sides of the levels, {sides}")
    return sides


def check_conditions(
    batch: int, t: Tensor, label: Tensor | None, num_classes: int | None = None
) -> None:
    """Check that t has shape (batch,) or (1,), and that there are labels, int64 (batch,) in
    0..num_classes - 1, exactly where the network has classes; else ValueError.
    """
    if t.ndim != 1 or t.shape[0] not in (1, batch):
        raise ValueError(f"t has shape {tuple(t.shape)}; it must be ({batch},) or (1,)")
    if num_classes is None:
        if label is not None:
            raise ValueError("the network is unconditional; label must be None")
        return
    if label is None:
        raise ValueError(
            f"the network has {num_classes} classes; it needs labels, int64 ({batch},)"
        )
    if label.dtype != torch.int64 or label.shape != (batch,):
        found = f"{str(label.dtype).removeprefix('torch.')} {tuple(label.shape)}"
        raise ValueError(f"labels are {found}; they must be int64 ({batch},)")
    # On a GPU the question would wait for the device; there an index out of range is an assertion.
    if label.device.type == "cpu" and not torch.compiler.is_compiling():
        wrong = label[(label < 0) | (label >= num_classes)]
        if len(wrong):
            raise ValueError(f"label {int(wrong[0])} is not in 0..{num_classes - 1}")
