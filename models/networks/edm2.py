"""UNet of EDM2, which keeps magnitudes (Karras et al. 2024, arXiv 2312.02696, figure 21)."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from configs.parts import require
from configs.values import Count, Fraction, PositiveOrZero, Share
from models.networks.blocks import Widths
from models.networks.edm2_blocks import Block, Dense, Fourier, mp_cat, mp_silu, mp_sum
from models.networks.edm_blocks import Level, check_inputs, levels_of, on_cpu
from models.parts import NETWORKS

SHAPE = {
    **{"image_size": "side", "in_channels": "channels", "out_channels": "answer"},
    "num_classes": "classes",
}


@NETWORKS.part("edm2", title="EDM2 UNet", paper="2312.02696", shape=SHAPE)
class EDM2(nn.Module):
    """Network of EDM2: weights of norm 1, and sums, joins and activations that keep the mean
    square. Its options are that program's.

    image_size          side of the images, divisible by 2^(len(channel_mult) - 1); see `forward`
    in_channels         channels of the state; out_channels: of the answer
    num_classes         columns of the label layer; null: no labels
    model_channels      width of the first level, best a multiple of 64, the channels of a head of
                        the attention; level i has model_channels * channel_mult[i]
    channel_mult_noise  width of the time's waves, as a multiple of model_channels; null: of the
                        first level
    channel_mult_emb    width of the embedding; null: of the widest level
    num_blocks          residual blocks per level on the way down; on the way up one more
    attn_resolutions    sides of the levels with attention, for images of image_size
    dropout             probability, inside the residual blocks
    label_balance, concat_balance, res_balance, attn_balance  shares of the label, of what comes
                        from the way down, of a residual branch, and of attention
    clip_act            bound of the activations; 0: none

    With 4 channels and num_classes 1000 the defaults are EDM2-S: 280,212,709 numbers. Names and
    shapes of the state dict are those of its published snapshots, without their head for the
    uncertainty (`logvar_`). A forward pass in training sets every weight to norm 1 (equation 66).
    Raises ValueError for options that do not fit together.
    """

    augment_dim = 0  # it is never told of augmentations

    def __init__(
        self,
        image_size: Count = 64,
        in_channels: Count = 3,
        out_channels: Count = 3,
        num_classes: Count | None = None,
        model_channels: Count = 192,
        channel_mult: Widths = (1, 2, 3, 4),
        channel_mult_noise: Count | None = None,
        channel_mult_emb: Count | None = None,
        num_blocks: Count = 3,
        attn_resolutions: Sequence[Count] = (16, 8),
        dropout: Fraction = 0.0,
        label_balance: Share = 0.5,
        concat_balance: Share = 0.5,
        res_balance: Share = 0.3,
        attn_balance: Share = 0.3,
        clip_act: PositiveOrZero = 256.0,
    ):
        super().__init__()
        require(EDM2, image_size=image_size, in_channels=in_channels, out_channels=out_channels)
        require(EDM2, num_classes=num_classes, model_channels=model_channels, dropout=dropout)
        require(EDM2, channel_mult=channel_mult, channel_mult_noise=channel_mult_noise)
        require(EDM2, channel_mult_emb=channel_mult_emb, num_blocks=num_blocks)
        require(EDM2, attn_resolutions=attn_resolutions, label_balance=label_balance)
        require(EDM2, concat_balance=concat_balance, res_balance=res_balance)
        require(EDM2, attn_balance=attn_balance, clip_act=clip_act)
        levels = levels_of(image_size, model_channels, channel_mult, attn_resolutions)
        self.in_channels, self.out_channels = in_channels, out_channels
        self.num_classes, self.factor = num_classes, 2 ** (len(levels) - 1)
        self.label_balance, self.concat_balance = label_balance, concat_balance
        noise = model_channels * (channel_mult_noise or channel_mult[0])
        emb = model_channels * (channel_mult_emb or max(channel_mult))
        shared = {"emb": emb, "dropout": dropout, "clip": clip_act}
        shared |= {"res_balance": res_balance, "attn_balance": attn_balance}

        unet: Any = nn.Module()  # EDM2 has the network below this name
        unet.out_gain = nn.Parameter(torch.zeros(()))
        unet.emb_fourier = Fourier(noise)
        unet.emb_noise = Dense(noise, emb)
        unet.emb_label = Dense(num_classes, emb) if num_classes else None
        unet.enc = _way_down(levels, in_channels, num_blocks, shared)
        skips: list[Any] = [block.out_channels for block in unet.enc.values()]
        unet.dec = _way_up(levels, skips, num_blocks, shared)
        unet.out_conv = Dense(levels[0].width, out_channels, 3)
        self.unet = unet

    def forward(self, x: Tensor, t: Tensor, label: Tensor | None = None) -> Tensor:
        """Map states x (B, in_channels, H, W) at times t to (B, out_channels, H, W).

        H and W: any sides divisible by 2^(len(channel_mult) - 1), not only image_size. t: (B,), or
        (1,) for all states; EDM2 tells log(sigma) / 4. label: int64 (B,), exactly where num_classes
        is set. The result has the dtype (except under autocast), the device and the memory layout
        of x. Raises ValueError for other shapes, and for other labels.
        """
        check_inputs(self, x, t, label, None)
        unet: Any = self.unet
        emb = unet.emb_noise(unet.emb_fourier(t, x))
        if unet.emb_label is not None and label is not None:
            named = unet.emb_label.columns(label) * math.sqrt(unet.emb_label.weight.shape[1])
            emb = mp_sum(emb.expand_as(named), named, self.label_balance)
        emb = mp_silu(emb)
        h = torch.cat([x, torch.ones_like(x[:, :1])], 1)  # ones: in place of biases
        skips = []
        for block in unet.enc.values():
            h = block(h, emb) if isinstance(block, Block) else on_cpu(block(h))
            skips.append(h)
        for name, block in unet.dec.items():
            if "block" in name:
                h = mp_cat(h, skips.pop(), self.concat_balance)
            h = block(h, emb)
        h = unet.out_conv(h, unet.out_gain)
        return h.contiguous() if x.is_contiguous() else h


def _way_down(
    levels: Sequence[Level], channels: int, blocks: int, shared: dict[str, Any]
) -> nn.ModuleDict:
    here = levels[0].width
    made: dict[str, nn.Module] = {levels[0].name("conv"): Dense(channels + 1, here, 3)}
    for level in levels:
        if level is not levels[0]:
            made[level.name("down")] = Block(here, here, "down", encode=True, **shared)
        for i in range(blocks):
            block = Block(here, level.width, encode=True, attend=level.attend, **shared)
            made[level.name(f"block{i}")] = block
            here = level.width
    return nn.ModuleDict(made)


def _way_up(
    levels: Sequence[Level], skips: list[int], blocks: int, shared: dict[str, Any]
) -> nn.ModuleDict:
    made: dict[str, nn.Module] = {}
    here = levels[-1].width
    for level in reversed(levels):
        if level is levels[-1]:
            made[level.name("in0")] = Block(here, here, attend=True, **shared)
            made[level.name("in1")] = Block(here, here, **shared)
        else:
            made[level.name("up")] = Block(here, here, "up", **shared)
        for i in range(blocks + 1):
            block = Block(here + skips.pop(), level.width, attend=level.attend, **shared)
            made[level.name(f"block{i}")] = block
            here = level.width
    return nn.ModuleDict(made)
