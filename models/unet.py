"""The UNet of DDPM (Ho et al. 2020, arXiv 2006.11239, appendix B) with the DDIM repo's keys."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.blocks import GROUPS, Attention, Downsample, ResBlock, Upsample, group_norm, sinusoidal


class UNet(nn.Module):
    """Noise estimate eps(x, t); the options are the DDIM repo's, the defaults its CIFAR-10 model.

    image_size         side of the square images, divisible by 2^(len(ch_mult) - 1)
    in_channels        channels of the images; out_ch: of the answer
    ch                 width of the first level, a multiple of 32; level i has ch * ch_mult[i]
    num_res_blocks     residual blocks per level going down, one more going up
    attn_resolutions   sides at which every residual block is followed by attention
    dropout            probability in [0, 1), inside the residual blocks
    resamp_with_conv   learned resampling, else average pooling and bare nearest neighbour
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
        self.image_size, self.in_channels, self.ch = image_size, in_channels, ch
        self.num_res_blocks = num_res_blocks
        levels, time = len(ch_mult), 4 * ch

        self.temb = nn.Module()
        self.temb.dense = nn.ModuleList([nn.Linear(ch, time), nn.Linear(time, time)])
        self.conv_in = nn.Conv2d(in_channels, ch, 3, padding=1)

        widths = [ch * m for m in ch_mult]
        skips, here = [ch], ch
        self.down = nn.ModuleList()
        for i, width in enumerate(widths):
            level = _Level(width, image_size >> i in attn_resolutions)
            for _ in range(num_res_blocks):
                level.add(here, time, dropout)
                skips.append(here := width)
            if i < levels - 1:
                level.downsample = Downsample(here, resamp_with_conv)
                skips.append(here)
            self.down.append(level)

        self.mid = nn.Module()
        self.mid.block_1 = ResBlock(here, here, time, dropout)
        self.mid.attn_1 = Attention(here)
        self.mid.block_2 = ResBlock(here, here, time, dropout)

        up = []
        for i, width in reversed(list(enumerate(widths))):
            level = _Level(width, image_size >> i in attn_resolutions)
            for _ in range(num_res_blocks + 1):
                level.add(here + skips.pop(), time, dropout)
                here = width
            if i > 0:
                level.upsample = Upsample(here, resamp_with_conv)
            up.append(level)
        self.up = nn.ModuleList(reversed(up))
        self.norm_out = group_norm(here)
        self.conv_out = nn.Conv2d(here, out_ch, 3, padding=1)

    def forward(self, x: Tensor, t: Tensor, label: None = None) -> Tensor:
        e = sinusoidal(t, self.ch)
        e = F.silu(self.temb.dense[1](F.silu(self.temb.dense[0](e))))
        h = self.conv_in(x)
        skips = [h]
        for level in self.down:
            for block, attn in zip(level.block, level.attn or [None]*9):
                h = block(h, e)
                if attn is not None: h = attn(h)
                skips.append(h)
            if hasattr(level,'downsample'):
                h = level.downsample(h)
                skips.append(h)
        h = self.mid.block_2(self.mid.attn_1(self.mid.block_1(h, e)), e)
        for level in reversed(self.up):
            for block, attn in zip(level.block, level.attn or [None]*9):
                h = block(torch.cat([h, skips.pop()], 1), e)
                if attn is not None: h = attn(h)
            if hasattr(level,'upsample'):
                h = level.upsample(h)
        return self.conv_out(F.silu(self.norm_out(h)))


class _Level(nn.Module):
    def __init__(self, width, attend):
        super().__init__()
        self.width, self.attend = width, attend
        self.block = nn.ModuleList()
        self.attn = nn.ModuleList()

    def add(self, channels, time, dropout):
        self.block.append(ResBlock(channels, self.width, time, dropout))
        if self.attend:
            self.attn.append(Attention(self.width))
