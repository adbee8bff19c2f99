"""NCSN++ and DDPM++, the networks of gDDIM (Song et al. 2021, arXiv 2011.13456, appendix H)."""

import math
from collections.abc import Sequence
from functools import partial
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from configs.parts import require
from configs.values import Count, Fraction, Positive
from models.networks.blocks import (
    GROUPS,
    SHAPE,
    Attention,
    TimeEmbedding,
    Widths,
    check_conditions,
    group_norm,
    label_embedding,
    level_sides,
    norm_silu,
    with_label,
)
from models.networks.filters import Shrink, larger, smaller
from models.parts import NETWORKS

SHORTEST = 1e-3  # smallest time of the Fourier embedding, which takes the logarithm


@NETWORKS.part("ncsnpp", title="NCSN++ or DDPM++", paper="2011.13456", shape=SHAPE)
class NCSNpp(nn.Module):
    """Network of the score SDEs and of gDDIM.

    image_size         side of the images, divisible by 2^(len(ch_mult) - 1); see `forward`
    in_channels        channels of the state (CLD: twice the data's); out_ch: of the output
    ch                 width of the first level, best a multiple of 32; level i has ch * ch_mult[i]
    num_res_blocks     residual blocks per level on the way down; on the way up one more
    attn_resolutions   sides of the levels with attention, for images of image_size
    dropout            probability, inside the residual blocks
    fir                resample with the filter fir_kernel (an even number of taps along each
                       axis); false: nearest neighbour on the way up, means of 2x2 on the way down
    skip_rescale       divide the sums of skip connections by sqrt(2)
    embedding          of time t: fourier (waves in log t, their frequencies drawn once with
                       standard deviation fourier_scale) or positional (DDPM's)
    progressive_input  residual: the input, downsampled step by step, is added on the way down; or
                       none
    num_classes        rows of a label embedding, added to the time embedding; null: no labels

    The defaults are gDDIM's blur network (arXiv 2206.05564): 107,587,075 numbers, 128 of them
    frequencies (a buffer, never trained). Its CLD network, with in_channels and out_ch 6, has
    107,597,446. DDPM++ (num_res_blocks 4, fir false, embedding positional, progressive_input none)
    has 61,804,419 with 3 channels and 61,811,334 with 6.

    Raises ValueError for options that do not fit together.
    """

    def __init__(
        self,
        image_size: Count = 32,
        in_channels: Count = 3,
        out_ch: Count = 3,
        ch: Count = 128,
        ch_mult: Widths = (1, 2, 2, 2),
        num_res_blocks: Count = 8,
        attn_resolutions: Sequence[Count] = (16,),
        dropout: Fraction = 0.1,
        fir: bool = True,
        fir_kernel: Sequence[float] = (1.0, 3.0, 3.0, 1.0),
        skip_rescale: bool = True,
        embedding: Literal["fourier", "positional"] = "fourier",
        fourier_scale: Positive = 16.0,
        progressive_input: Literal["none", "residual"] = "residual",
        num_classes: Count | None = None,
    ):
        super().__init__()
        require(NCSNpp, image_size=image_size, in_channels=in_channels, out_ch=out_ch, ch=ch)
        require(NCSNpp, ch_mult=ch_mult, num_res_blocks=num_res_blocks, dropout=dropout)
        require(NCSNpp, attn_resolutions=attn_resolutions, fir_kernel=fir_kernel)
        require(NCSNpp, embedding=embedding, fourier_scale=fourier_scale)
        require(NCSNpp, progressive_input=progressive_input, num_classes=num_classes)
        _check(ch, fir_kernel)
        sides = level_sides(image_size, len(ch_mult), attn_resolutions)
        self.in_channels, self.num_classes = in_channels, num_classes
        self.factor, self.scale = 2 ** (len(ch_mult) - 1), math.sqrt(0.5) if skip_rescale else 1.0
        taps = fir_kernel if fir else None
        block = partial(Block, time=4 * ch, dropout=dropout, scale=self.scale)

        self.temb = _embedding(embedding, ch, fourier_scale, num_classes)
        self.conv_in = nn.Conv2d(in_channels, ch, 3, padding=1)
        self.down, self.pyramid = nn.ModuleList(), nn.ModuleList()
        skips, here, seen = [ch], ch, in_channels
        levels = [(i, ch * m, sides[i] in attn_resolutions) for i, m in enumerate(ch_mult)]
        for i, width, attend in levels:
            ways = [here] + [width] * (num_res_blocks - 1)
            self.down.extend(block(way, width, attend=attend) for way in ways)
            skips += [width] * num_res_blocks
            if i < len(levels) - 1:
                self.down.append(block(width, width, resample=smaller(width, taps)))
                skips.append(width)
                if progressive_input == "residual":
                    self.pyramid.append(Shrink(seen, width, taps))
            here = seen = width

        self.mid = nn.ModuleList([block(here, here, attend=True), block(here, here)])

        self.up = nn.ModuleList()
        for i, width, attend in reversed(levels):
            ways = [w + skips.pop() for w in [here] + [width] * num_res_blocks]
            self.up.extend(block(way, width) for way in ways[:-1])
            self.up.append(block(ways[-1], width, attend=attend))
            if i > 0:
                self.up.append(block(width, width, resample=larger(width, taps)))
            here = width
        self.norm_out = _norm(here)
        self.conv_out = nn.Conv2d(here, out_ch, 3, padding=1)
        _draw_weights(self)

    def forward(self, x: Tensor, t: Tensor, label: Tensor | None = None) -> Tensor:
        """Map states x (B, in_channels, H, W) at times t to (B, out_ch, H, W).

        H and W: any sides divisible by 2^(len(ch_mult) - 1), not only image_size. t: (B,), or (1,)
        for all states; whole numbers or fractions. label: int64 (B,), exactly where num_classes is
        set. The result has the dtype (except under autocast), the device and the memory layout of
        x. Raises ValueError for other shapes, and for other labels.
        """
        self._check_inputs(x, t, label)
        temb = self.temb(t, like=x, label=label)
        h = self.conv_in(x)
        if h.device.type == "cpu":  # its convolutions repack any other layout at each call
            h = h.contiguous(memory_format=torch.channels_last)
        skips, picture, smaller = [h], x, iter(self.pyramid)
        for block in self.down:
            h = block(h, temb)
            if block.resample is not None and self.pyramid:
                h = picture = (next(smaller)(picture) + h) * self.scale
            skips.append(h)
        for block in self.mid:
            h = block(h, temb)
        for block in self.up:
            h = block(h if block.resample is not None else torch.cat([h, skips.pop()], 1), temb)
        h = self.conv_out(norm_silu(self.norm_out, h))
        return h.contiguous() if x.is_contiguous() else h

    def _check_inputs(self, x: Tensor, t: Tensor, label: Tensor | None) -> None:
        if x.ndim != 4 or x.shape[1] != self.in_channels:
            raise ValueError(
                f"x has shape {tuple(x.shape)}; by in_channels the network takes states "
                f"(B, {self.in_channels}, H, W)"
            )
        if x.shape[2] % self.factor or x.shape[3] % self.factor:
            raise ValueError(
                f"x has {x.shape[2]}x{x.shape[3]} pixels; by ch_mult both sides must be divisible "
                f"by {self.factor}"
            )
        check_conditions(len(x), t, label, self.num_classes)


class Block(nn.Module):
    """Residual block of BigGAN (arXiv 1809.11096); attend: attention after it.

    resample: changes the size of the image on both paths, before the first convolution and before
    the 1x1 convolution of the shortcut. scale: factor of every sum.
    """

    def __init__(
        self,
        channels: int,
        out: int,
        time: int,
        dropout: float,
        scale: float,
        resample: nn.Module | None = None,
        attend: bool = False,
    ):
        super().__init__()
        self.scale, self.resample = scale, resample
        self.norm1 = _norm(channels)
        self.conv1 = nn.Conv2d(channels, out, 3, padding=1)
        self.temb_proj = nn.Linear(time, out)
        self.norm2 = _norm(out)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = nn.Conv2d(out, out, 3, padding=1)
        same = channels == out and resample is None
        self.shortcut = None if same else nn.Conv2d(channels, out, 1)
        self.attn = Attention(out, _groups(out)) if attend else None

    def forward(self, x: Tensor, temb: Tensor) -> Tensor:
        """Map x (B, channels, H, W) to (B, out, ., .). temb: (B, D), or (1, D) for all."""
        h = norm_silu(self.norm1, x)
        if self.resample is not None:
            h, x = self.resample(h), self.resample(x)
        h = self.conv1(h) + self.temb_proj(temb)[:, :, None, None]
        h = self.conv2(self.dropout(norm_silu(self.norm2, h)))
        h = ((x if self.shortcut is None else self.shortcut(x)) + h) * self.scale
        return h if self.attn is None else self.attn(h) * self.scale


class FourierEmbedding(nn.Module):
    """Time embedding (N,) -> (N, 4 channels): waves in log t, then two dense layers with SiLU.

    The frequencies belong to the state dict, because the dense layers fit only these. num_classes:
    rows of a label embedding, as in TimeEmbedding.
    """

    frequencies: Tensor

    def __init__(self, channels: int, scale: float, num_classes: int | None = None):
        super().__init__()
        self.register_buffer("frequencies", torch.randn(channels) * scale)
        width = 4 * channels
        self.dense = nn.ModuleList([nn.Linear(2 * channels, width), nn.Linear(width, width)])
        self.label = label_embedding(num_classes, width)

    def forward(self, t: Tensor, like: Tensor, label: Tensor | None = None) -> Tensor:
        """Embed t and label, as TimeEmbedding does."""
        dtype = torch.float64 if like.dtype == torch.float64 else torch.float32
        log_t = t.to(dtype).clamp(min=SHORTEST).log()[:, None]
        angle = 2 * math.pi * log_t * self.frequencies.to(dtype)
        e = torch.cat([angle.sin(), angle.cos()], dim=1).to(like.dtype)
        return F.silu(with_label(self.dense[1](F.silu(self.dense[0](e))), self.label, label))


def _embedding(kind: str, channels: int, scale: float, num_classes: int | None) -> nn.Module:
    if kind == "fourier":
        return FourierEmbedding(channels, scale, num_classes)
    return TimeEmbedding(channels, num_classes)


def _groups(channels: int) -> int:
    return min(channels // 4, GROUPS)


def _norm(channels: int) -> nn.GroupNorm:
    if channels % _groups(channels):
        raise ValueError(
            f"ch: by ch and ch_mult a level has {channels} channels, which do not divide into "
            f"{_groups(channels)} groups; a multiple of {GROUPS} always fits"
        )
    return group_norm(channels, _groups(channels))


@torch.no_grad()
def _draw_weights(network: NCSNpp) -> None:
    """Draw weights uniformly with variance 2 / (fan in + fan out), times a small factor in layers
    that start near zero; biases are 0.
    """
    less = {"conv_out": 1e-10, "conv2": 1e-10, "proj_out": 1e-10, "q": 0.1, "k": 0.1, "v": 0.1}
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            gain = math.sqrt(less.get(name.split(".")[-1], 1.0))
            nn.init.xavier_uniform_(module.weight, gain)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def _check(ch: int, fir_kernel: Sequence[float]) -> None:
    if ch % 4:
        raise ValueError(f"ch: {ch} must be a multiple of 4; a multiple of {GROUPS} always fits")
    if not fir_kernel or len(fir_kernel) % 2 or not sum(fir_kernel) > 0:
        raise ValueError(
            f"fir_kernel: {list(fir_kernel)} must be an even number of taps, such as [1, 3, 3, 1], "
            "with a sum above 0"
        )
