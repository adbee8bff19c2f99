"""SongUNet: DDPM++ and NCSN++ as EDM trains them (Karras et al. 2022, arXiv 2206.00364)."""

import math
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import torch
import torch.nn.functional as F
from annotated_types import MinLen
from torch import Tensor, nn

from configs.parts import require
from configs.values import Count, CountOrZero, Fraction
from models.networks.blocks import Widths, norm_silu, sinusoidal
from models.networks.edm_blocks import (
    SHAPE,
    Block,
    Draw,
    Kit,
    Level,
    Resampled,
    check_inputs,
    levels_of,
    on_cpu,
    one_hot,
)
from models.parts import NETWORKS

SCALE = math.sqrt(0.5)  # of every sum of two branches
FREQUENCIES = 16.0  # standard deviation of the frequencies of a Fourier embedding
Taps = Annotated[Sequence[float], MinLen(1)]


@NETWORKS.part("song", title="SongUNet (DDPM++, NCSN++ of EDM)", paper="2206.00364", shape=SHAPE)
class SongUNet(nn.Module):
    """EDM's form of the networks of the score SDEs. Its options are that program's.

    image_size          side of the images, divisible by 2^(len(channel_mult) - 1); see `forward`
    in_channels         channels of the state; out_channels: of the answer
    num_classes         columns of the label layer; null: no labels
    augment_dim         numbers that tell of an augmentation; 0: the network is not told
    model_channels      width of the first level; level i has model_channels * channel_mult[i]
    channel_mult_emb    width of the embedding, as a multiple of model_channels
    num_blocks          residual blocks per level on the way down; on the way up one more
    attn_resolutions    sides of the levels with attention, for images of image_size
    dropout             probability, inside the residual blocks
    embedding_type      of time: positional (DDPM's) or fourier (waves of frequencies drawn once);
                        channel_mult_noise: its width, as a multiple of model_channels
    encoder_type        skip or residual: the input, downsampled step by step, is added on the way
                        down; standard: not
    decoder_type        skip: every level adds to the output; standard: the last one alone
    resample_filter     taps of the low-pass filter along each axis, an even number

    The defaults are DDPM++. NCSN++ has embedding_type fourier, channel_mult_noise 2, encoder_type
    residual and resample_filter [1, 3, 3, 1]. Names and shapes of the state dict are EDM's. A label
    is told as a one-hot vector, and "no class" of a network trained with label dropout is a column
    of its own. Raises ValueError for options that do not fit together.
    """

    def __init__(
        self,
        image_size: Count = 32,
        in_channels: Count = 3,
        out_channels: Count = 3,
        num_classes: Count | None = None,
        augment_dim: CountOrZero = 0,
        model_channels: Count = 128,
        channel_mult: Widths = (1, 2, 2, 2),
        channel_mult_emb: Count = 4,
        num_blocks: Count = 4,
        attn_resolutions: Sequence[Count] = (16,),
        dropout: Fraction = 0.1,
        embedding_type: Literal["positional", "fourier"] = "positional",
        channel_mult_noise: Count = 1,
        encoder_type: Literal["standard", "skip", "residual"] = "standard",
        decoder_type: Literal["standard", "skip"] = "standard",
        resample_filter: Taps = (1.0, 1.0),
    ):
        super().__init__()
        require(SongUNet, image_size=image_size, in_channels=in_channels, dropout=dropout)
        require(SongUNet, out_channels=out_channels, num_classes=num_classes)
        require(SongUNet, augment_dim=augment_dim, model_channels=model_channels)
        require(SongUNet, channel_mult=channel_mult, channel_mult_emb=channel_mult_emb)
        require(SongUNet, num_blocks=num_blocks, attn_resolutions=attn_resolutions)
        require(SongUNet, embedding_type=embedding_type, channel_mult_noise=channel_mult_noise)
        require(SongUNet, encoder_type=encoder_type, decoder_type=decoder_type)
        require(SongUNet, resample_filter=resample_filter)
        _check(model_channels * channel_mult_noise, resample_filter)
        levels = levels_of(image_size, model_channels, channel_mult, attn_resolutions)
        self.in_channels, self.out_channels = in_channels, out_channels
        self.num_classes, self.augment_dim = num_classes, augment_dim
        self.factor, noise = 2 ** (len(levels) - 1), model_channels * channel_mult_noise
        kit = _kit(model_channels * channel_mult_emb, dropout, tuple(resample_filter))

        self.map_noise = Fourier(noise) if embedding_type == "fourier" else Positional(noise)
        self.map_label = kit.first(nn.Linear(num_classes, noise)) if num_classes else None
        self.map_augment = None
        if augment_dim:
            self.map_augment = kit.first(nn.Linear(augment_dim, noise, bias=False))
        self.map_layer0 = kit.first(nn.Linear(noise, kit.emb))
        self.map_layer1 = kit.first(nn.Linear(kit.emb, kit.emb))
        self.enc = _way_down(kit, levels, in_channels, model_channels, num_blocks, encoder_type)
        skips: list[Any] = [b.out_channels for k, b in self.enc.items() if "aux" not in k]
        self.dec = _way_up(kit, levels, skips, out_channels, num_blocks, decoder_type)

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
        h, skips = self._go_down(x, emb)
        h = self._go_up(h, skips, emb)
        return h.contiguous() if x.is_contiguous() else h

    def _embed(
        self, t: Tensor, like: Tensor, label: Tensor | None, augment: Tensor | None
    ) -> Tensor:
        emb = self.map_noise(t, like)
        if self.map_label is not None and label is not None:
            # sqrt(columns): so each number of a one-hot vector has the mean square 1
            emb = emb + one_hot(label, self.map_label, math.sqrt(self.map_label.in_features))
        if self.map_augment is not None and augment is not None:
            emb = emb + self.map_augment(augment.to(emb.dtype))
        return F.silu(self.map_layer1(F.silu(self.map_layer0(emb))))

    def _go_down(self, x: Tensor, emb: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Result of the way down, and what it leaves for the way up."""
        h = picture = x
        skips: list[Tensor] = []
        for name, block in self.enc.items():
            if "aux_down" in name:
                picture = block(picture)
            elif "aux_skip" in name:
                h = skips[-1] = h + block(picture)
            elif "aux_residual" in name:
                h = skips[-1] = picture = (h + block(picture)) * SCALE
            else:
                h = block(h, emb) if isinstance(block, Block) else on_cpu(block(h))
                skips.append(h)
        return h, skips

    def _go_up(self, h: Tensor, skips: list[Tensor], emb: Tensor) -> Tensor:
        """Sum of the pictures that the levels add, one alone where decoder_type is standard."""
        picture: Tensor | None = None
        for name, block in self.dec.items():
            if "aux_up" in name:
                picture = block(picture)
            elif "aux_norm" in name:
                normed = norm_silu(block, h)
            elif "aux_conv" in name:
                picture = block(normed) if picture is None else block(normed) + picture
            else:
                h = block(torch.cat([h, skips.pop()], 1) if "block" in name else h, emb)
        assert picture is not None
        return picture


class Positional(nn.Module):
    """Embedding of times (N,) as (N, channels) by sines and cosines, as DDPM's."""

    def __init__(self, channels: int):
        super().__init__()
        self.channels = channels

    def forward(self, t: Tensor, like: Tensor) -> Tensor:
        """Embed t, in float64 where `like` is float64, else in float32."""
        dtype = torch.float64 if like.dtype == torch.float64 else torch.float32
        return sinusoidal(t, self.channels, dtype).to(like.dtype)


class Fourier(nn.Module):
    """Embedding of times (N,) as (N, channels) by waves of frequencies that are drawn once and kept
    in the state dict, because the layers after it fit only these.
    """

    freqs: Tensor

    def __init__(self, channels: int):
        super().__init__()
        self.register_buffer("freqs", torch.randn(channels // 2) * FREQUENCIES)

    def forward(self, t: Tensor, like: Tensor) -> Tensor:
        """Embed t, in float64 where `like` is float64, else in float32."""
        dtype = torch.float64 if like.dtype == torch.float64 else torch.float32
        angle = 2 * math.pi * t.to(dtype)[:, None] * self.freqs.to(dtype)
        return torch.cat([angle.sin(), angle.cos()], dim=1).to(like.dtype)


def _kit(emb: int, dropout: float, taps: tuple[float, ...]) -> Kit:
    return Kit(
        emb=emb,
        dropout=dropout,
        heads=1,
        scale=SCALE,
        eps=1e-6,
        taps=taps,
        project=True,
        adaptive=False,
        first=Draw("glorot"),
        last=Draw("glorot", 1e-5),
        attend=Draw("glorot", math.sqrt(0.2)),
    )


def _way_down(
    kit: Kit, levels: Sequence[Level], channels: int, first: int, blocks: int, kind: str
) -> nn.ModuleDict:
    """Make all blocks of the way down, and those beside it that see the input."""
    made: dict[str, nn.Module] = {levels[0].name("conv"): kit.conv(channels, first, 3)}
    here, seen = first, channels
    for i, level in enumerate(levels):
        if i:
            made[level.name("down")] = Block(kit, here, here, down=True)
        if i and kind == "skip":
            made[level.name("aux_down")] = Resampled(kit.taps)
            made[level.name("aux_skip")] = kit.conv(channels, here, 1)
        if i and kind == "residual":
            residual = kit.conv(seen, here, 3, filter_last=True)
            made[level.name("aux_residual")], seen = residual, here
        made |= kit.down(level, here, blocks)
        here = level.width
    return nn.ModuleDict(made)


def _way_up(
    kit: Kit, levels: Sequence[Level], skips: list[int], out: int, blocks: int, kind: str
) -> nn.ModuleDict:
    """Make all blocks of the way up, and what makes pictures of their results."""
    made: dict[str, nn.Module] = {}
    here = levels[-1].width
    for level in reversed(levels):
        last = level is levels[-1]
        made |= kit.up(level, here, skips, blocks, last, attend_all=False)
        here = level.width
        if kind == "skip" and not last:
            made[level.name("aux_up")] = Resampled(kit.taps, up=True)
        if kind == "skip" or level is levels[0]:
            made[level.name("aux_norm")] = kit.norm(here)
            made[level.name("aux_conv")] = kit.last(nn.Conv2d(here, out, 3, padding=1))
    return nn.ModuleDict(made)


def _check(noise: int, taps: Sequence[float]) -> None:
    if noise % 2 or noise < 4:
        raise ValueError(
            f"channel_mult_noise: the time has {noise} channels; it must be an even number, at "
            "least 4"
        )
    if len(taps) % 2 or not sum(taps) > 0:
        raise ValueError(
            f"resample_filter: {list(taps)} must be an even number of taps, such as [1, 3, 3, 1], "
            "with a sum above 0"
        )
