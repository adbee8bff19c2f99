"""The UNet of DDPM (Ho et al. 2020, arXiv 2006.11239, appendix B) with the DDIM repo's keys."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from models.networks.blocks import (
    GROUPS,
    Attention,
    Downsample,
    ResBlock,
    TimeEmbedding,
    Upsample,
    check_conditions,
    check_counts,
    group_norm,
    level_sides,
    norm_silu,
)


class UNet(nn.Module):
    """Noise estimate eps(x, t); the options are the DDIM repo's, the defaults its CIFAR-10 model.

    image_size         side of the square images, divisible by 2^(len(ch_mult) - 1)
    in_channels        channels of the images; out_ch: of the answer
    ch                 width of the first level, a multiple of 32; level i has ch * ch_mult[i]
    num_res_blocks     residual blocks per level on the way down; one more on the way up
    attn_resolutions   sides at which every residual block is followed by attention
    dropout            probability in [0, 1), inside the residual blocks
    resamp_with_conv   learned resampling, else average pooling and bare nearest neighbour

    Raises ValueError for options that do not fit together. Names and order of the state dict are
    those of the DDIM repo, and so are the initial weights (PyTorch's own).
    """

    def __init__(
        self,
        image_size: int = 32,
        in_channels: int = 3,
        out_ch: int = 3,
        ch: int = 128,
        ch_mult: Sequence[int] = (1, 2, 2, 2),
        num_res_blocks: int = 2,
        attn_resolutions: Sequence[int] = (16,),
        dropout: float = 0.1,
        resamp_with_conv: bool = True,
    ):
        super().__init__()
        check_counts(in_channels, out_ch, ch_mult, num_res_blocks, dropout)
        if ch < GROUPS or ch % GROUPS:
            fit = max(GROUPS, round(ch / GROUPS) * GROUPS)
            text = f"must be a multiple of {GROUPS}, the groups of its normalisation; {fit} fits"
            raise ValueError(f"ch: {ch} {text}")
        sides = level_sides(image_size, len(ch_mult), attn_resolutions)
        self.image_size, self.in_channels = image_size, in_channels
        self.resamp_with_conv = resamp_with_conv
        widths = [ch * m for m in ch_mult]
        attends = [side in attn_resolutions for side in sides]
        rest = (4 * ch, dropout)

        self.temb = TimeEmbedding(ch)
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

    def forward(self, x: Tensor, t: Tensor, label: None = None) -> Tensor:
        """Images (B, in_channels, S, S) and times (B,), or (1,) for all -> (B, out_ch, S, S).

        Times may be integers or between them. The answer has the dtype (except under autocast),
        the device and the memory layout of x. Raises ValueError for other shapes, or a label.
        """
        self._check_inputs(x, t, label)
        temb = self.temb(t, like=x)
        h = self.conv_in(x)
        if h.device.type == "cpu":  # there convolutions would repack any other layout at each call
            h = h.contiguous(memory_format=torch.channels_last)
        skips = [h]
        for down in self.down:
            h = down(h, temb, skips)
        h = self.mid(h, temb)
        for up in reversed(self.up):
            h = up(h, temb, skips)
        h = self.conv_out(norm_silu(self.norm_out, h))
        return h.contiguous() if x.is_contiguous() else h

    def _check_inputs(self, x: Tensor, t: Tensor, label: None) -> None:
        want = (self.in_channels, self.image_size, self.image_size)
        if x.ndim != 4 or x.shape[1:] != want:
            raise ValueError(
                f"the network takes images {('B', *want)}, not {tuple(x.shape)}; "
                "its options image_size and in_channels say so"
            )
        check_conditions(len(x), t, label)


class Down(nn.Module):
    """One level on the way down: blocks (with attention), then a smaller picture."""

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
        """Append to `skips` what the way up will want."""
        for i, block in enumerate(self.block):
            h = block(h, temb)
            h = self.attn[i](h) if self.attn else h
            skips.append(h)
        if self.downsample is not None:
            h = self.downsample(h)
            skips.append(h)
        return h


class Middle(nn.Module):
    """The lowest level: block, attention, block."""

    def __init__(self, channels: int, time: int, dropout: float):
        super().__init__()
        self.block_1 = ResBlock(channels, channels, time, dropout)
        self.attn_1 = Attention(channels)
        self.block_2 = ResBlock(channels, channels, time, dropout)

    def forward(self, h: Tensor, temb: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        return self.block_2(self.attn_1(self.block_1(h, temb)), temb)


class Up(nn.Module):
    """One level on the way up: blocks on what came down beside it, then a larger picture."""

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
        """Take from the end of `skips` one tensor per block."""
        for i, block in enumerate(self.block):
            h = block(torch.cat([h, skips.pop()], dim=1), temb)
            h = self.attn[i](h) if self.attn else h
        return h if self.upsample is None else self.upsample(h)
