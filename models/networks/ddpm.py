"""UNet of DDPM (Ho et al. 2020, arXiv 2006.11239, appendix B), as the DDIM repository has it."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from configs.parts import require
from configs.values import Count, Fraction
from models.networks.blocks import (
    GROUPS,
    SHAPE,
    Attention,
    Downsample,
    ResBlock,
    TimeEmbedding,
    Upsample,
    Widths,
    check_conditions,
    group_norm,
    level_sides,
    norm_silu,
)
from models.parts import NETWORKS


@NETWORKS.part("ddpm", title="DDPM UNet", paper="2006.11239", shape=SHAPE, aliases={"simple": ""})
class UNet(nn.Module):
    """Network of DDPM. The options are the DDIM repository's, the defaults its CIFAR-10 model.

    image_size         side of the square images, divisible by 2^(len(ch_mult) - 1)
    in_channels        channels of the input; out_ch: of the output
    ch                 width of the first level, a multiple of 32; level i has ch * ch_mult[i]
    num_res_blocks     residual blocks per level on the way down; on the way up one more
    attn_resolutions   sides at which every residual block is followed by attention
    dropout            probability, inside the residual blocks
    resamp_with_conv   resample by convolutions; false: average pooling and nearest neighbour
    num_classes        rows of a label embedding, added to the time embedding; null: no labels

    Names and order of the state dict, and the initial weights (PyTorch's own), are those of the
    DDIM repository. Raises ValueError for options that do not fit together.
    """

    def __init__(
        self,
        image_size: Count = 32,
        in_channels: Count = 3,
        out_ch: Count = 3,
        ch: Count = 128,
        ch_mult: Widths = (1, 2, 2, 2),
        num_res_blocks: Count = 2,
        attn_resolutions: Sequence[Count] = (16,),
        dropout: Fraction = 0.1,
        resamp_with_conv: bool = True,
        num_classes: Count | None = None,
    ):
        super().__init__()
        require(UNet, image_size=image_size, in_channels=in_channels, out_ch=out_ch, ch=ch)
        require(UNet, ch_mult=ch_mult, num_res_blocks=num_res_blocks, dropout=dropout)
        require(UNet, attn_resolutions=attn_resolutions, num_classes=num_classes)
        if ch % GROUPS:
            fit = max(GROUPS, round(ch / GROUPS) * GROUPS)
            text = f"must be a multiple of {GROUPS}, the groups of its normalisation; {fit} fits"
            raise ValueError(f"ch: {ch} {text}")
        sides = level_sides(image_size, len(ch_mult), attn_resolutions)
        self.image_size, self.in_channels = image_size, in_channels
        self.num_classes = num_classes
        self.resamp_with_conv = resamp_with_conv
        widths = [ch * m for m in ch_mult]
        attends = [side in attn_resolutions for side in sides]
        rest = (4 * ch, dropout)

        self.temb = TimeEmbedding(ch, num_classes)
        self.conv_in = nn.Conv2d(in_channels, ch, 3, padding=1)
        self.down = nn.ModuleList()
        skips, here = [ch], ch
        for i, width in enumerate(widths):
            shrink = Downsample(width, resamp_with_conv) if i < len(widths) - 1 else None
            ways = [here] + [width] * (num_res_blocks - 1)
            self.down.append(Down(ways, width, attends[i], shrink, *rest))
            skips += [width] * (num_res_blocks + (shrink is not None))
            here = width

        self.mid = Middle(here, *rest)

        ups = []
        for i, width in reversed(list(enumerate(widths))):
            grow = Upsample(width, resamp_with_conv) if i > 0 else None
            ways = [w + skips.pop() for w in [here] + [width] * num_res_blocks]
            ups.append(Up(ways, width, attends[i], grow, *rest))
            here = width
        self.up = nn.ModuleList(reversed(ups))
        self.norm_out = group_norm(here)
        self.conv_out = nn.Conv2d(here, out_ch, 3, padding=1)

    def forward(self, x: Tensor, t: Tensor, label: Tensor | None = None) -> Tensor:
        """Map images x (B, in_channels, S, S) at times t to (B, out_ch, S, S).

        t: (B,), or (1,) for all images; whole numbers or fractions. label: int64 (B,), exactly
        where num_classes is set. The result has the dtype (except under autocast), the device and
        the memory layout of x. Raises ValueError for other shapes, and for other labels.
        """
        self._check_inputs(x, t, label)
        temb = self.temb(t, like=x, label=label)
        h = self.conv_in(x)
        if h.device.type == "cpu":  # its convolutions repack any other layout at each call
            h = h.contiguous(memory_format=torch.channels_last)
        skips = [h]
        for down in self.down:
            h = down(h, temb, skips)
        h = self.mid(h, temb)
        for up in reversed(self.up):
            h = up(h, temb, skips)
        h = self.conv_out(norm_silu(self.norm_out, h))
        return h.contiguous() if x.is_contiguous() else h

    def _check_inputs(self, x: Tensor, t: Tensor, label: Tensor | None) -> None:
        want = (self.in_channels, self.image_size, self.image_size)
        if x.ndim != 4 or x.shape[1:] != want:
            raise ValueError(
                f"x has shape {tuple(x.shape)}; by image_size and in_channels the network takes "
                f"images (B, {', '.join(map(str, want))})"
            )
        check_conditions(len(x), t, label, self.num_classes)


class Down(nn.Module):
    """One level on the way down: residual blocks (with attention), then downsampling."""

    def __init__(
        self,
        ways: list[int],
        out: int,
        attend: bool,
        shrink: Downsample | None,
        time: int,
        dropout: float,
    ):
        super().__init__()
        self.block = nn.ModuleList(ResBlock(way, out, time, dropout) for way in ways)
        self.attn = nn.ModuleList(Attention(out) for _ in ways if attend)
        self.downsample = shrink

    def forward(self, h: Tensor, temb: Tensor, skips: list[Tensor]) -> Tensor:
        """Map h to the next level and append the result of every block to `skips`."""
        for i, block in enumerate(self.block):
            h = block(h, temb)
            h = self.attn[i](h) if self.attn else h
            skips.append(h)
        if self.downsample is not None:
            h = self.downsample(h)
            skips.append(h)
        return h


class Middle(nn.Module):
    """Lowest level: residual block, attention, residual block."""

    def __init__(self, channels: int, time: int, dropout: float):
        super().__init__()
        self.block_1 = ResBlock(channels, channels, time, dropout)
        self.attn_1 = Attention(channels)
        self.block_2 = ResBlock(channels, channels, time, dropout)

    def forward(self, h: Tensor, temb: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C, H, W)."""
        return self.block_2(self.attn_1(self.block_1(h, temb)), temb)


class Up(nn.Module):
    """One level on the way up: residual blocks that also take the skips, then upsampling."""

    def __init__(
        self,
        ways: list[int],
        out: int,
        attend: bool,
        grow: Upsample | None,
        time: int,
        dropout: float,
    ):
        super().__init__()
        self.block = nn.ModuleList(ResBlock(way, out, time, dropout) for way in ways)
        self.attn = nn.ModuleList(Attention(out) for _ in ways if attend)
        self.upsample = grow

    def forward(self, h: Tensor, temb: Tensor, skips: list[Tensor]) -> Tensor:
        """Map h to the next level; every block takes the last tensor of `skips`."""
        for i, block in enumerate(self.block):
            h = block(torch.cat([h, skips.pop()], dim=1), temb)
            h = self.attn[i](h) if self.attn else h
        return h if self.upsample is None else self.upsample(h)
