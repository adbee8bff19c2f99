"""DhariwalUNet: the ADM network as EDM trains it (Karras et al. 2022, arXiv 2206.00364)."""

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from configs.parts import require
from configs.values import Count, CountOrZero, Fraction
from models.networks.adm_blocks import waves, zero
from models.networks.blocks import Widths, norm_silu
from models.networks.edm_blocks import (
    SHAPE,
    Block,
    Draw,
    Kit,
    Level,
    check_inputs,
    levels_of,
    on_cpu,
    one_hot,
)
from models.parts import NETWORKS


@NETWORKS.part("dhariwal", title="DhariwalUNet (ADM of EDM)", paper="2206.00364", shape=SHAPE)
class DhariwalUNet(nn.Module):
    """EDM's form of the ADM network. Its options are that program's.

    image_size        side of the images, divisible by 2^(len(channel_mult) - 1); see `forward`
    in_channels       channels of the state; out_channels: of the answer
    num_classes       columns of the label layer; null: no labels
    augment_dim       numbers that tell of an augmentation; 0: the network is not told
    model_channels    width of the time's waves, even; level i has model_channels * channel_mult[i]
    channel_mult_emb  width of the embedding, as a multiple of model_channels
    num_blocks        residual blocks per level on the way down; on the way up one more
    attn_resolutions  sides of the levels with attention, for images of image_size; a head has 64
                      channels
    dropout           probability, inside the residual blocks

    With num_classes 1000 the defaults are EDM's network of ImageNet at 64x64: 295,899,267 numbers.
    Names and shapes of the state dict are EDM's. A label is told as a one-hot vector, and "no
    class" of a network trained with label dropout is a column of its own. Raises ValueError for
    options that do not fit together.
    """

    def __init__(
        self,
        image_size: Count = 64,
        in_channels: Count = 3,
        out_channels: Count = 3,
        num_classes: Count | None = None,
        augment_dim: CountOrZero = 0,
        model_channels: Count = 192,
        channel_mult: Widths = (1, 2, 3, 4),
        channel_mult_emb: Count = 4,
        num_blocks: Count = 3,
        attn_resolutions: Sequence[Count] = (32, 16, 8),
        dropout: Fraction = 0.1,
    ):
        super().__init__()
        require(DhariwalUNet, image_size=image_size, in_channels=in_channels, dropout=dropout)
        require(DhariwalUNet, out_channels=out_channels, num_classes=num_classes)
        require(DhariwalUNet, augment_dim=augment_dim, model_channels=model_channels)
        require(DhariwalUNet, channel_mult=channel_mult, channel_mult_emb=channel_mult_emb)
        require(DhariwalUNet, num_blocks=num_blocks, attn_resolutions=attn_resolutions)
        levels = levels_of(image_size, model_channels, channel_mult, attn_resolutions)
        if model_channels % 2:
            raise ValueError(f"model_channels: {model_channels} must be even")
        self.in_channels, self.out_channels = in_channels, out_channels
        self.num_classes, self.augment_dim = num_classes, augment_dim
        self.model_channels, self.factor = model_channels, 2 ** (len(levels) - 1)
        kit = _kit(model_channels * channel_mult_emb, dropout)

        self.map_augment = None
        if augment_dim:
            self.map_augment = zero(nn.Linear(augment_dim, model_channels, bias=False))
        self.map_layer0 = kit.first(nn.Linear(model_channels, kit.emb))
        self.map_layer1 = kit.first(nn.Linear(kit.emb, kit.emb))
        self.map_label = None
        if num_classes:
            self.map_label = nn.Linear(num_classes, kit.emb, bias=False)
            nn.init.normal_(self.map_label.weight)  # each column: one class, as large as the time's
        self.enc = _way_down(kit, levels, in_channels, num_blocks)
        skips: list[Any] = [block.out_channels for block in self.enc.values()]
        up: dict[str, Block] = {}
        here = levels[-1].width
        for level in reversed(levels):
            last = level is levels[-1]
            up |= kit.up(level, here, skips, num_blocks, last, attend_all=True)
            here = level.width
        self.dec = nn.ModuleDict(up)
        self.out_norm = kit.norm(here)
        self.out_conv = zero(nn.Conv2d(here, out_channels, 3, padding=1))

    def forward(
        self, x: Tensor, t: Tensor, label: Tensor | None = None, augment: Tensor | None = None
    ) -> Tensor:
        """Map states x (B, in_channels, H, W) at times t to (B, out_channels, H, W).

        H and W: any sides divisible by 2^(len(channel_mult) - 1), not only image_size. t: (B,), or
        (1,) for all states; numbers of any kind, as the process tells them. label: int64 (B,),
        exactly where num_classes is set. augment: (B, augment_dim); None: no augmentation. The
        result has the dtype (except under autocast), the device and the memory layout of x. Raises
        ValueError for other shapes, and for other labels.
        """
        check_inputs(self, x, t, label, augment)
        emb = self._embed(t, x, label, augment)
        h, skips = x, []
        for block in self.enc.values():
            h = block(h, emb) if isinstance(block, Block) else on_cpu(block(h))
            skips.append(h)
        for name, block in self.dec.items():
            h = block(torch.cat([h, skips.pop()], 1) if "block" in name else h, emb)
        h = self.out_conv(norm_silu(self.out_norm, h))
        return h.contiguous() if x.is_contiguous() else h

    def _embed(
        self, t: Tensor, like: Tensor, label: Tensor | None, augment: Tensor | None
    ) -> Tensor:
        dtype = torch.float64 if like.dtype == torch.float64 else torch.float32
        emb = waves(t, self.model_channels, dtype).to(like.dtype)
        if self.map_augment is not None and augment is not None:
            emb = emb + self.map_augment(augment.to(emb.dtype))
        emb = self.map_layer1(F.silu(self.map_layer0(emb)))
        if self.map_label is not None and label is not None:
            emb = emb + one_hot(label, self.map_label).to(emb.dtype)
        return F.silu(emb)


def _kit(emb: int, dropout: float) -> Kit:
    first = Draw("he", math.sqrt(1 / 3), math.sqrt(1 / 3))
    return Kit(
        emb=emb,
        dropout=dropout,
        heads=None,
        scale=1.0,
        eps=1e-5,
        taps=(1.0, 1.0),
        project=False,
        adaptive=True,
        first=first,
        last=Draw("he", 0.0),
        attend=first,
    )


def _way_down(kit: Kit, levels: Sequence[Level], channels: int, blocks: int) -> nn.ModuleDict:
    here = levels[0].width
    made: dict[str, nn.Module] = {levels[0].name("conv"): kit.conv(channels, here, 3)}
    for level in levels:
        if level is not levels[0]:
            made[level.name("down")] = Block(kit, here, here, down=True)
        made |= kit.down(level, here, blocks)
        here = level.width
    return nn.ModuleDict(made)
