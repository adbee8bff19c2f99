"""NCSN++ and DDPM++ (Song et al. 2021, arXiv 2011.13456, appendix H), the networks of gDDIM."""

import math
from collections.abc import Sequence
from functools import partial
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.networks.blocks import (
    GROUPS,
    Attention,
    Downsample,
    TimeEmbedding,
    Upsample,
    check_conditions,
    check_counts,
    group_norm,
    level_sides,
    norm_silu,
)

SHORTEST = 1e-3  # earlier network times are taken for this one by the Fourier code of log t


class NCSNpp(nn.Module):
    """Noise estimate eps(x, t); what the options leave open is arXiv 2011.13456's.

    image_size         side of the images, divisible by 2^(len(ch_mult) - 1); see `forward`
    in_channels        channels of the state (CLD: twice the data's); out_ch: of the answer
    ch                 width of the first level, best a multiple of 32; level i: ch * ch_mult[i]
    num_res_blocks     residual blocks per level on the way down; one more on the way up
    attn_resolutions   sides of the levels that have attention, for images of image_size
    dropout            probability in [0, 1), inside the residual blocks
    fir                resample with the filter fir_kernel (an even number of taps along each
                       axis); false: nearest neighbour on the way up, means of 2x2 on the way down
    skip_rescale       divide what skip connections add up by sqrt(2)
    embedding          of time t: fourier (waves in log t, their frequencies drawn once with
                       standard deviation fourier_scale) or positional (DDPM's)
    progressive_input  residual: the input, made smaller step by step, joins the way down; or none

    The defaults are gDDIM's blur network (arXiv 2206.05564): 107,587,075 numbers, of which 128 are
    the frequencies, a buffer, never trained. Its CLD network, in_channels and out_ch 6, has
    107,597,446. DDPM++ (num_res_blocks 4, fir false, embedding positional, progressive_input none)
    has 61,804,419 with 3 channels and 61,811,334 with 6.

    Raises ValueError for options that do not fit together.
    """

    def __init__(
        self,
        image_size: int = 32,
        in_channels: int = 3,
        out_ch: int = 3,
        ch: int = 128,
        ch_mult: Sequence[int] = (1, 2, 2, 2),
        num_res_blocks: int = 8,
        attn_resolutions: Sequence[int] = (16,),
        dropout: float = 0.1,
        fir: bool = True,
        fir_kernel: Sequence[float] = (1.0, 3.0, 3.0, 1.0),
        skip_rescale: bool = True,
        embedding: Literal["fourier", "positional"] = "fourier",
        fourier_scale: float = 16.0,
        progressive_input: Literal["none", "residual"] = "residual",
    ):
        super().__init__()
        check_counts(in_channels, out_ch, ch_mult, num_res_blocks, dropout)
        _check(ch, fir_kernel, embedding, fourier_scale, progressive_input)
        sides = level_sides(image_size, len(ch_mult), attn_resolutions)
        self.in_channels, self.factor = in_channels, 2 ** (len(ch_mult) - 1)
        self.scale = math.sqrt(0.5) if skip_rescale else 1.0
        taps = fir_kernel if fir else None
        block = partial(Block, time=4 * ch, dropout=dropout, scale=self.scale)

        fourier = embedding == "fourier"
        self.temb = FourierEmbedding(ch, fourier_scale) if fourier else TimeEmbedding(ch)
        self.conv_in = nn.Conv2d(in_channels, ch, 3, padding=1)
        self.down, self.pyramid = nn.ModuleList(), nn.ModuleList()
        skips, here, seen = [ch], ch, in_channels
        levels = [(i, ch * m, sides[i] in attn_resolutions) for i, m in enumerate(ch_mult)]
        for i, width, attend in levels:
            ways = [here] + [width] * (num_res_blocks - 1)
            self.down.extend(block(way, width, attend=attend) for way in ways)
            skips += [width] * num_res_blocks
            if i < len(levels) - 1:
                self.down.append(block(width, width, resample=_smaller(width, taps)))
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
                self.up.append(block(width, width, resample=_larger(width, taps)))
            here = width
        self.norm_out = _norm(here)
        self.conv_out = nn.Conv2d(here, out_ch, 3, padding=1)
        _draw_weights(self)

    def forward(self, x: Tensor, t: Tensor, label: None = None) -> Tensor:
        """States (B, in_channels, H, W) and times (B,), or (1,) for all -> (B, out_ch, H, W).

        H and W need not be image_size: anything that halves as often as ch_mult asks. Times may
        be fractions. The answer has the dtype (except under autocast), the device and the memory
        layout of x. Raises ValueError for other shapes, or a label.
        """
        self._check_inputs(x, t, label)
        temb = self.temb(t, like=x)
        h = self.conv_in(x)
        if h.device.type == "cpu":  # there convolutions would repack any other layout at each call
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

    def _check_inputs(self, x: Tensor, t: Tensor, label: None) -> None:
        if x.ndim != 4 or x.shape[1] != self.in_channels:
            raise ValueError(
                f"the network takes states ('B', {self.in_channels}, 'H', 'W'), not "
                f"{tuple(x.shape)}; its option in_channels says so"
            )
        if x.shape[2] % self.factor or x.shape[3] % self.factor:
            raise ValueError(
                f"images of {x.shape[2]}x{x.shape[3]} pixels: both sides must be divisible by "
                f"{self.factor}, as ch_mult says"
            )
        check_conditions(len(x), t, label)


class Block(nn.Module):
    """BigGAN's residual block (arXiv 1809.11096), then attention if asked.

    With `resample` the picture changes its size, on both ways: before the first convolution, and
    before the 1x1 one beside it. Sums are multiplied by `scale`.
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
        """x (B, channels, H, W), activated time embedding (B or 1, D) -> (B, out, ., .)."""
        h = norm_silu(self.norm1, x)
        if self.resample is not None:
            h, x = self.resample(h), self.resample(x)
        h = self.conv1(h) + self.temb_proj(temb)[:, :, None, None]
        h = self.conv2(self.dropout(norm_silu(self.norm2, h)))
        h = ((x if self.shortcut is None else self.shortcut(x)) + h) * self.scale
        return h if self.attn is None else self.attn(h) * self.scale


class FourierEmbedding(nn.Module):
    """Times (N,) -> (N, 4 channels): waves in log t through two dense layers, activated.

    The frequencies are part of the state dict: weights mean nothing beside other ones.
    """

    frequencies: Tensor

    def __init__(self, channels: int, scale: float):
        super().__init__()
        self.register_buffer("frequencies", torch.randn(channels) * scale)
        width = 4 * channels
        self.dense = nn.ModuleList([nn.Linear(2 * channels, width), nn.Linear(width, width)])

    def forward(self, t: Tensor, like: Tensor) -> Tensor:
        """Embed t; calculated in float64 where `like` is float64, else in float32."""
        dtype = torch.float64 if like.dtype == torch.float64 else torch.float32
        log_t = t.to(dtype).clamp(min=SHORTEST).log()[:, None]
        angle = 2 * math.pi * log_t * self.frequencies.to(dtype)
        e = torch.cat([angle.sin(), angle.cos()], dim=1).to(like.dtype)
        return F.silu(self.dense[1](F.silu(self.dense[0](e))))


class Filter(nn.Module):
    """Low-pass filter with `taps` along both axes, zeros beyond the border.

    With stride 2 (B, C, H, W) -> (B, C, H/2, W/2), each new pixel over the middle of four old ones;
    with stride 1 -> (B, C, H + 1, W + 1), what a strided 3x3 convolution without padding wants.
    """

    kernel: Tensor

    def __init__(self, taps: Sequence[float], stride: int):
        super().__init__()
        self.stride, self.padding = stride, len(taps) // 2 - (stride == 2)
        self.register_buffer("kernel", _kernel(taps).flip(2, 3), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Filter every channel for itself."""
        kernel = self.kernel.expand(x.shape[1], -1, -1, -1)
        return F.conv2d(x, kernel, None, self.stride, self.padding, groups=x.shape[1])


class Grow(nn.Module):
    """(B, C, H, W) -> (B, C, 2H, 2W): zeros between the pixels, then the filter of `Filter`."""

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
    """(B, channels, H, W) -> (B, out, H/2, W/2): filter, if any, and a strided 3x3 convolution."""

    def __init__(self, channels: int, out: int, taps: Sequence[float] | None):
        super().__init__()
        # without a filter the pixel right and below is missing: TensorFlow's "SAME"
        self.filter = Filter(taps, stride=1) if taps else nn.ZeroPad2d((0, 1, 0, 1))
        self.conv = nn.Conv2d(channels, out, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """Halve both sides of x."""
        return self.conv(self.filter(x))


def _smaller(channels: int, taps: Sequence[float] | None) -> nn.Module:
    return Filter(taps, stride=2) if taps else Downsample(channels, with_conv=False)


def _larger(channels: int, taps: Sequence[float] | None) -> nn.Module:
    return Grow(taps) if taps else Upsample(channels, with_conv=False)


def _kernel(taps: Sequence[float]) -> Tensor:
    """(1, 1, n, n) that sums to 1."""
    row = torch.tensor(taps, dtype=torch.float64)
    return torch.outer(row, row).div(row.sum() ** 2).to(torch.get_default_dtype())[None, None]


def _groups(channels: int) -> int:
    return min(channels // 4, GROUPS)


def _norm(channels: int) -> nn.GroupNorm:
    if channels % _groups(channels):
        raise ValueError(
            f"ch: with this ch and ch_mult, {channels} channels would be normalised in "
            f"{_groups(channels)} groups; a multiple of {GROUPS} always fits"
        )
    return group_norm(channels, _groups(channels))


@torch.no_grad()
def _draw_weights(network: NCSNpp) -> None:
    """Uniform of variance 2 / (fan in + fan out), less where the literature begins near zero."""
    less = {"conv_out": 1e-10, "conv2": 1e-10, "proj_out": 1e-10, "q": 0.1, "k": 0.1, "v": 0.1}
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            gain = math.sqrt(less.get(name.split(".")[-1], 1.0))
            nn.init.xavier_uniform_(module.weight, gain)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def _check(
    ch: int, fir_kernel: Sequence[float], embedding: str, fourier_scale: float, pyramid: str
) -> None:
    if ch < 4 or ch % 4:
        raise ValueError(f"ch: {ch} must be a multiple of 4; a multiple of {GROUPS} always fits")
    if not fir_kernel or len(fir_kernel) % 2 or not sum(fir_kernel) > 0:
        raise ValueError(
            f"fir_kernel: {list(fir_kernel)} must be an even number of taps, such as [1, 3, 3, 1], "
            "with a sum above 0"
        )
    if embedding not in ("fourier", "positional"):
        raise ValueError(f"embedding: {embedding!r} must be fourier or positional")
    if not fourier_scale > 0:
        raise ValueError(f"fourier_scale: {fourier_scale} must be above 0")
    if pyramid not in ("none", "residual"):
        raise ValueError(f"progressive_input: {pyramid!r} must be none or residual")
