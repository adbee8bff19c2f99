"""ADM, the UNet of guided-diffusion (Dhariwal and Nichol 2021, arXiv 2105.05233)."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from annotated_types import MinLen
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from configs.parts import require
from configs.values import Count, Fraction, Positive
from models.networks.adm_blocks import Kit, Level, waves, zero
from models.networks.blocks import GROUPS, check_conditions, level_sides, norm_silu
from models.parts import NETWORKS

SHAPE = {
    **{"image_size": "side", "in_channels": "channels", "out_channels": "answer"},
    "num_classes": "classes",
}
KEYS = {"num_channels": "model_channels", "ch": "model_channels", "ch_mult": "channel_mult"}
CountOrUnset = Literal[-1] | Count


@NETWORKS.part("adm", title="ADM UNet", paper="2105.05233", shape=SHAPE, keys=KEYS)
class ADM(nn.Module):
    """Network of guided-diffusion. Its options are that program's, with their defaults there.

    image_size             side of the images, divisible by 2^(len(channel_mult) - 1); see `forward`
    in_channels            channels of the state; out_channels: of the answer
    model_channels         width of the first level; level i has model_channels * channel_mult[i],
                           a multiple of 32
    num_res_blocks         residual blocks per level on the way down; on the way up one more
    attention_resolutions  levels with attention, as factors by which they are smaller than the
                           image: 8 is the level of side image_size / 8
    dropout                probability, inside the residual blocks
    conv_resample          resample by convolutions; false: average pooling and nearest neighbour
    num_classes            rows of the label embedding; none: a network without classes
    use_checkpoint         keep for the backward pass only what goes from stage to stage, and
                           compute the rest again: less memory, equal gradients
    num_heads              of attention, where num_head_channels, the width of a head, is -1;
                           num_heads_upsample: on the way up, -1 for as many
    use_scale_shift_norm   the embedding scales and shifts the second normalisation of a block
    resblock_updown        resample inside residual blocks, whatever conv_resample says
    use_new_attention_order  rows of the qkv layers: all queries first, instead of head by head

    Names and order of the state dict are those of guided-diffusion. Raises ValueError for options
    that do not fit together.
    """

    def __init__(
        self,
        image_size: Count = 64,
        in_channels: Count = 3,
        model_channels: Count = 128,
        out_channels: Count = 3,
        num_res_blocks: Count = 2,
        attention_resolutions: Sequence[Count] = (4, 8),
        dropout: Fraction = 0.0,
        channel_mult: Annotated[Sequence[Positive], MinLen(1)] = (1, 2, 4, 8),
        conv_resample: bool = True,
        num_classes: Count | None = None,
        use_checkpoint: bool = False,
        num_heads: Count = 1,
        num_head_channels: CountOrUnset = -1,
        num_heads_upsample: CountOrUnset = -1,
        use_scale_shift_norm: bool = False,
        resblock_updown: bool = False,
        use_new_attention_order: bool = False,
    ):
        super().__init__()
        require(ADM, image_size=image_size, in_channels=in_channels, out_channels=out_channels)
        require(ADM, model_channels=model_channels, channel_mult=channel_mult, dropout=dropout)
        require(ADM, num_res_blocks=num_res_blocks, attention_resolutions=attention_resolutions)
        require(ADM, num_classes=num_classes, num_heads=num_heads)
        require(ADM, num_head_channels=num_head_channels, num_heads_upsample=num_heads_upsample)
        level_sides(image_size, len(channel_mult), ())
        levels = _levels(model_channels, channel_mult, attention_resolutions)
        self.in_channels, self.model_channels = in_channels, model_channels
        self.num_classes, self.use_checkpoint = num_classes, use_checkpoint
        self.factor, embedding, first = levels[-1].factor, 4 * model_channels, levels[0].width
        kit = Kit(
            embedding=embedding,
            dropout=dropout,
            scale_shift=use_scale_shift_norm,
            resample="block" if resblock_updown else "conv" if conv_resample else "mean",
            heads=num_heads,
            head_channels=num_head_channels,
            new_order=use_new_attention_order,
        )
        up = kit if num_heads_upsample == -1 else replace(kit, heads=num_heads_upsample)

        self.time_embed = nn.Sequential(
            nn.Linear(model_channels, embedding), nn.SiLU(), nn.Linear(embedding, embedding)
        )
        self.label_emb = None if num_classes is None else nn.Embedding(num_classes, embedding)
        self.input_blocks = kit.way_down(in_channels, levels, num_res_blocks)
        self.middle_block = kit.middle(levels[-1].width)
        self.output_blocks = up.way_up(levels, num_res_blocks)
        self.out = nn.Sequential(
            nn.GroupNorm(GROUPS, first),
            nn.SiLU(),
            zero(nn.Conv2d(first, out_channels, 3, padding=1)),
        )

    def forward(self, x: Tensor, t: Tensor, label: Tensor | None = None) -> Tensor:
        """Map states x (B, in_channels, H, W) at times t to (B, out_channels, H, W).

        H and W: any sides divisible by 2^(len(channel_mult) - 1), not only image_size. t: (B,), or
        (1,) for all states; whole numbers or fractions. label: int64, shaped like t, from 0 to
        num_classes - 1; None exactly where num_classes is. The result has the dtype (except under
        autocast), the device and the memory layout of x. Raises ValueError for other shapes, and
        for a label that is missing or not wanted.
        """
        self._check_inputs(x, t, label)
        dtype = torch.float64 if x.dtype == torch.float64 else torch.float32
        emb = self.time_embed(waves(t, self.model_channels, dtype).to(x.dtype))
        if self.label_emb is not None:
            emb = emb + self.label_emb(label)
        emb = F.silu(emb)  # every residual block needs silu(emb) and none needs emb
        first, *down = self.input_blocks
        h = first(x, emb)
        if h.device.type == "cpu":  # its convolutions repack any other layout at each call
            h = h.contiguous(memory_format=torch.channels_last)
        skips = [h]
        for stage in down:
            h = self._run(stage, h, emb)
            skips.append(h)
        h = self._run(self.middle_block, h, emb)
        for stage in self.output_blocks:
            h = self._run(stage, h, emb, skips.pop())
        norm, _, conv = self.out
        h = conv(norm_silu(norm, h))
        return h.contiguous() if x.is_contiguous() else h

    def _run(self, stage: nn.Module, *inputs: Tensor) -> Tensor:
        if self.use_checkpoint and torch.is_grad_enabled():
            return checkpoint(stage, *inputs, use_reentrant=False)
        return stage(*inputs)

    def _check_inputs(self, x: Tensor, t: Tensor, label: Tensor | None) -> None:
        if x.ndim != 4 or x.shape[1] != self.in_channels:
            raise ValueError(
                f"x has shape {tuple(x.shape)}; by in_channels the network takes states "
                f"(B, {self.in_channels}, H, W)"
            )
        if x.shape[2] % self.factor or x.shape[3] % self.factor:
            raise ValueError(
                f"x has {x.shape[2]}x{x.shape[3]} pixels; by channel_mult both sides must be "
                f"divisible by {self.factor}"
            )
        check_conditions(len(x), t, None)
        if self.label_emb is None and label is not None:
            raise ValueError("the network is unconditional; label must be None")
        shape = None if label is None else tuple(label.shape)
        if self.label_emb is not None and shape not in ((1,), (len(x),)):
            found = "there is none" if label is None else f"its shape is {shape}"
            raise ValueError(
                f"num_classes: {self.num_classes} needs a label, ({len(x)},) or (1,); {found}"
            )


def _levels(
    model_channels: int, channel_mult: Sequence[float], attention_resolutions: Sequence[int]
) -> list[Level]:
    """Describe every level. Raises ValueError where a width does not divide into the groups of the
    normalisation, or no level has a factor of `attention_resolutions`.
    """
    factors = [2**i for i in range(len(channel_mult))]
    lost = [factor for factor in attention_resolutions if factor not in factors]
    if lost:
        raise ValueError(
            f"attention_resolutions: {lost} must be among the factors of the levels, {factors}; "
            "the factor of a level is image_size divided by its side"
        )
    widths = [model_channels * mult for mult in channel_mult]
    if odd := [width for width in widths if width % GROUPS]:
        raise ValueError(
            f"model_channels: {model_channels} gives a level {odd[0]:g} channels; it must be a "
            f"multiple of {GROUPS}, the groups of the normalisation"
        )
    return [
        Level(factor, int(width), factor in attention_resolutions)
        for factor, width in zip(factors, widths, strict=True)
    ]
