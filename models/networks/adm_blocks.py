"""Blocks of the ADM network (Dhariwal and Nichol 2021, arXiv 2105.05233)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.networks.blocks import GROUPS, Upsample, dense, norm_silu

L = TypeVar("L", bound=nn.Module)


def waves(t: Tensor, dim: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Embed times (N,) as (N, dim): cosines, then sines, of t 10000^(-i / (dim/2)).

    dim: even; dtype: of the calculation and of the result.
    """
    half = dim // 2
    i = torch.arange(half, dtype=dtype, device=t.device)
    angle = t.to(dtype)[:, None] * torch.exp(i * -(math.log(10000) / half))
    return torch.cat([angle.cos(), angle.sin()], dim=1)


def zero(layer: L) -> L:
    """Set the weights of a layer to 0, so that its residual block begins as the identity."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


class Stage(nn.ModuleList):
    """Residual block, and what follows it: attention, a change of the image's size, or both."""

    def forward(self, h: Tensor, emb: Tensor, skip: Tensor | None = None) -> Tensor:
        """Map h (B, C, H, W), with the channels of `skip` behind its own, through all layers."""
        # joined here, so that under gradient checkpointing only the two parts are kept
        h = h if skip is None else torch.cat([h, skip], dim=1)
        for layer in self:
            h = layer(h, emb) if isinstance(layer, ResBlock) else layer(h)
        return h


class ResBlock(nn.Module):
    """Residual block. The embedding of time and class is added between the two convolutions, or
    with scale_shift becomes scale and shift of the second normalisation.

    resample: changes the size of the image on both paths, before the first convolution.
    """

    def __init__(
        self,
        channels: int,
        out: int,
        embedding: int,
        dropout: float,
        scale_shift: bool,
        resample: nn.Module | None = None,
    ):
        super().__init__()
        self.scale_shift, self.resample = scale_shift, resample
        self.in_layers = nn.Sequential(
            nn.GroupNorm(GROUPS, channels), nn.SiLU(), nn.Conv2d(channels, out, 3, padding=1)
        )
        self.emb_layers = nn.Sequential(
            nn.SiLU(), nn.Linear(embedding, 2 * out if scale_shift else out)
        )
        self.out_layers = nn.Sequential(
            nn.GroupNorm(GROUPS, out),
            nn.SiLU(),
            nn.Dropout(dropout),
            zero(nn.Conv2d(out, out, 3, padding=1)),
        )
        same = channels == out
        self.skip_connection = nn.Identity() if same else nn.Conv2d(channels, out, 1)

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        """Map x (B, channels, H, W) to (B, out, ., .). emb: (B, D), or (1, D) for all, after SiLU,
        which the network applies once for all blocks.
        """
        norm, _, conv = self.in_layers
        h = norm_silu(norm, x)
        if self.resample is not None:
            h, x = self.resample(h), self.resample(x)
        h, emb = conv(h), self.emb_layers[1](emb)[:, :, None, None]
        norm, _, dropout, conv = self.out_layers
        if self.scale_shift:
            scale, shift = emb.chunk(2, dim=1)
            h = F.silu(norm(h) * (1 + scale) + shift, inplace=not torch.is_grad_enabled())
        else:
            h = norm_silu(norm, h + emb)
        return self.skip_connection(x) + conv(dropout(h))


class Attention(nn.Module):
    """Self-attention over all pixels with several heads and a residual connection.

    new_order: the rows of the qkv layer hold the queries of all heads, then all keys, then all
    values; otherwise queries, keys and values of the first head, then those of the second.
    """

    def __init__(self, channels: int, heads: int, new_order: bool):
        super().__init__()
        self.heads, self.new_order = heads, new_order
        self.norm = nn.GroupNorm(GROUPS, channels)
        self.qkv = nn.Conv1d(channels, 3 * channels, 1)
        self.proj_out = zero(nn.Conv1d(channels, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C, H, W)."""
        h = dense(self.qkv, self.norm(x).flatten(2).transpose(1, 2))  # (B, HW, 3C)
        if self.new_order:
            q, k, v = h.unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        else:
            q, k, v = h.unflatten(2, (self.heads, 3, -1)).permute(3, 0, 2, 1, 4)
        h = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        return x + dense(self.proj_out, h).transpose(1, 2).unflatten(2, x.shape[2:])


class Downsample(nn.Module):
    """Downsampling (B, C, H, W) -> (B, C, H/2, W/2): a 3x3 convolution of stride 2 that pads all
    four sides; without with_conv the mean of 2x2 pixels.
    """

    def __init__(self, channels: int, with_conv: bool):
        super().__init__()
        self.op: nn.Module = nn.AvgPool2d(2)
        if with_conv:
            self.op = nn.Conv2d(channels, channels, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Halve both sides of x."""
        return self.op(x)


class Level(NamedTuple):
    """Resolution at which the image is `factor` times smaller, and its stages `width` wide."""

    factor: int
    width: int
    attend: bool


@dataclass(frozen=True)
class Kit:
    """Options that all stages of a network share, and the stages made with them.

    embedding: width of the embedding. resample: by residual blocks ("block"), convolutions
    ("conv"), or means and nearest neighbours ("mean"). heads: of attention, where head_channels,
    the width of a head, is -1.
    """

    embedding: int
    dropout: float
    scale_shift: bool
    resample: Literal["block", "conv", "mean"]
    heads: int
    head_channels: int
    new_order: bool

    def way_down(self, channels: int, levels: Sequence[Level], blocks: int) -> nn.ModuleList:
        """Make the first convolution and the stages of all levels, `blocks` each."""
        here = levels[0].width
        stages = [Stage([nn.Conv2d(channels, here, 3, padding=1)])]
        for level in levels:
            if level.factor > 1:
                stages.append(Stage([self._resized(here, Downsample)]))
            for _ in range(blocks):
                stages.append(self._stage(here, level))
                here = level.width
        return nn.ModuleList(stages)

    def middle(self, width: int) -> Stage:
        """Make the stage of the lowest level: block, attention, block."""
        block = self._block
        return Stage([block(width, width), self._attention(width), block(width, width)])

    def way_up(self, levels: Sequence[Level], blocks: int) -> nn.ModuleList:
        """Make the stages of all levels from the last one on, blocks + 1 each. Each takes the
        result of a stage on the way down.
        """
        skips = [levels[0].width]
        for level in levels:
            skips += [level.width] * blocks
            skips += [level.width] * (level.factor < levels[-1].factor)
        stages, here = [], levels[-1].width
        for level in reversed(levels):
            for _ in range(blocks + 1):
                stages.append(self._stage(here + skips.pop(), level))
                here = level.width
            if level.factor > 1:
                stages[-1].append(self._resized(here, Upsample))
        return nn.ModuleList(stages)

    def _stage(self, channels: int, level: Level) -> Stage:
        stage = Stage([self._block(channels, level.width)])
        return stage.append(self._attention(level.width)) if level.attend else stage

    def _block(self, channels: int, out: int, resample: nn.Module | None = None) -> ResBlock:
        return ResBlock(channels, out, self.embedding, self.dropout, self.scale_shift, resample)

    def _resized(self, width: int, kind: type[Downsample | Upsample]) -> nn.Module:
        if self.resample == "block":
            return self._block(width, width, kind(width, with_conv=False))
        return kind(width, with_conv=self.resample == "conv")

    def _attention(self, width: int) -> Attention:
        by_width = self.head_channels != -1
        part = self.head_channels if by_width else self.heads
        if width % part:
            key = "num_head_channels" if by_width else "num_heads"
            raise ValueError(
                f"{key}: {part} does not divide the {width} channels of a level with attention"
            )
        return Attention(width, width // part if by_width else part, self.new_order)
