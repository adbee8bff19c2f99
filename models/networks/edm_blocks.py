"""Blocks of EDM's networks (Karras et al. 2022, arXiv 2206.00364), and how their weights begin.

Names and shapes of weights are those of EDM's published networks.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.networks.blocks import GROUPS, check_conditions, dense, level_sides, norm_silu

L = TypeVar("L", bound=nn.Module)
HEAD = 64  # channels of a head of the attention where the number of heads is not fixed
SHAPE: dict[str, Literal["side", "channels", "answer", "classes", "augment"]] = {
    **{"image_size": "side", "in_channels": "channels", "out_channels": "answer"},
    **{"num_classes": "classes", "augment_dim": "augment"},
}


@dataclass(frozen=True)
class Draw:
    """First weights: uniform with the variance 2 / (fan in + fan out) (glorot) or 1 / fan in (he),
    times `weight`; biases uniform like the weights, times `bias`.
    """

    mode: Literal["glorot", "he"]
    weight: float = 1.0
    bias: float = 0.0

    @torch.no_grad()
    def __call__(self, layer: L) -> L:
        """Draw the weights of a linear layer or a convolution anew."""
        weight: Any = layer.weight
        bias: Any = layer.bias
        fan_in, fan_out = weight[0].numel(), len(weight) * weight[0, 0].numel()
        variance = 2 / (fan_in + fan_out) if self.mode == "glorot" else 1 / fan_in
        for parameter, gain in ((weight, self.weight), (bias, self.bias)):
            if parameter is not None:
                bound = gain * math.sqrt(3 * variance)
                nn.init.uniform_(parameter, -bound, bound)
        return layer


class Level(NamedTuple):
    """Resolution of a network: side of its images (for those of image_size), width, attention."""

    side: int
    width: int
    attend: bool

    def name(self, kind: str) -> str:
        """Name of a module of this level, as EDM's: "32x32_conv"."""
        return f"{self.side}x{self.side}_{kind}"


@dataclass(frozen=True)
class Kit:
    """Options that all blocks of a network share.

    emb       width of the embedding
    heads     of attention; None: one for each 64 channels
    scale     of every sum
    eps       of the norms
    taps      of the filter that resamples
    project   the shortcut of a block that resamples has a 1x1 convolution in any case
    adaptive  the embedding scales and shifts the second norm, instead of being added before it
    first     first weights of ordinary layers; last: of those that end a residual branch;
              attend: of those that make queries, keys and values
    """

    emb: int
    dropout: float
    heads: int | None
    scale: float
    eps: float
    taps: tuple[float, ...]
    project: bool
    adaptive: bool
    first: Draw
    last: Draw
    attend: Draw

    def conv(self, channels: int, out: int, kernel: int, **how: bool) -> "nn.Conv2d | Resampled":
        """Make a convolution with ordinary first weights. how: options of `Resampled`, if any."""
        if not how:
            return self.first(nn.Conv2d(channels, out, kernel, padding=kernel // 2))
        return Resampled(self.taps, self.first(nn.Conv2d(channels, out, kernel)), **how)

    def norm(self, channels: int) -> nn.GroupNorm:
        """Make a group normalisation: 32 groups, or fewer of at least 4 channels."""
        groups = min(GROUPS, channels // 4)
        if not groups or channels % groups:
            raise ValueError(
                f"model_channels: a level has {channels} channels, which do not divide into "
                f"{groups} groups; a multiple of {GROUPS} always fits"
            )
        return nn.GroupNorm(groups, channels, eps=self.eps)

    def down(self, level: Level, here: int, blocks: int) -> dict[str, "Block"]:
        """Make the blocks of a level on the way down, which begin with `here` channels."""
        ways = [here] + [level.width] * (blocks - 1)
        return {
            level.name(f"block{i}"): Block(self, way, level.width, attend=level.attend)
            for i, way in enumerate(ways)
        }

    def up(
        self, level: Level, here: int, skips: list[int], blocks: int, last: bool, attend_all: bool
    ) -> dict[str, "Block"]:
        """Make the blocks of a level on the way up, the first of which resamples, or (last: the
        smallest level, where the way up begins) holds attention. Each of the others takes one of
        `skips`, which are removed. attend_all: a level with attention has it in each block, not
        only in its last one.
        """
        made = {level.name("up"): Block(self, here, here, up=True)}
        if last:
            first = Block(self, here, here, attend=True)
            made = {level.name("in0"): first, level.name("in1"): Block(self, here, here)}
        for i in range(blocks + 1):
            attend = level.attend and (attend_all or i == blocks)
            way = here + skips.pop()
            made[level.name(f"block{i}")] = Block(self, way, level.width, attend=attend)
            here = level.width
        return made


class Resampled(nn.Module):
    """Low-pass filter that halves or doubles (up) both sides, then a convolution. The weights of
    both are its own, as EDM names them.

    conv: gives weight, bias and kernel; None for the filter alone. filter_last: halve after the
    convolution.
    """

    resample_filter: Tensor
    weight: Tensor | None
    bias: Tensor | None

    def __init__(
        self,
        taps: Sequence[float],
        conv: nn.Conv2d | None = None,
        up: bool = False,
        filter_last: bool = False,
    ):
        super().__init__()
        self.up, self.filter_last = up, filter_last
        self.weight, self.bias = (conv.weight, conv.bias) if conv else (None, None)
        f = torch.tensor(taps, dtype=torch.float32)
        self.register_buffer("resample_filter", torch.outer(f, f)[None, None] / f.sum().square())

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, out, H/2, W/2), or to (B, out, 2H, 2W)."""
        margin = (self.resample_filter.shape[-1] - 1) // 2
        if self.weight is None:
            return self._filter(x, margin)
        padding = self.weight.shape[-1] // 2
        if not self.filter_last:
            return F.conv2d(self._filter(x, margin), self.weight, self.bias, padding=padding)
        # the filter's margin stands around the image, so what it sees of the convolution is no zero
        h = self._filter(F.conv2d(x, self.weight, padding=padding + margin), 0)
        return h if self.bias is None else h + self.bias[:, None, None]

    def _filter(self, x: Tensor, padding: int) -> Tensor:
        kernel, channels = self.resample_filter.expand(x.shape[1], -1, -1, -1), x.shape[1]
        if self.up:  # of four pixels three are new zeros: hence the factor
            return F.conv_transpose2d(x, 4 * kernel, None, 2, padding, groups=channels)
        return F.conv2d(x, kernel, None, 2, padding, groups=channels)


class Block(nn.Module):
    """Residual block: two normalised 3x3 convolutions, told of the embedding in between; then
    self-attention where attend.
    """

    def __init__(
        self,
        kit: Kit,
        channels: int,
        out: int,
        up: bool = False,
        down: bool = False,
        attend: bool = False,
    ):
        super().__init__()
        self.out_channels, self.scale, self.adaptive = out, kit.scale, kit.adaptive
        heads = max(1, out // HEAD) if kit.heads is None else kit.heads
        if attend and out % heads:
            raise ValueError(
                f"model_channels: a level with attention has {out} channels, which do not divide "
                f"into {heads} heads; a multiple of {HEAD} always fits"
            )
        self.heads = heads if attend else 0
        self.norm0 = kit.norm(channels)
        how = {"up": up} if up or down else {}
        self.conv0 = kit.conv(channels, out, 3, **how)
        self.affine = kit.first(nn.Linear(kit.emb, 2 * out if kit.adaptive else out))
        self.norm1 = kit.norm(out)
        self.dropout = nn.Dropout(kit.dropout)
        self.conv1 = kit.last(nn.Conv2d(out, out, 3, padding=1))
        self.skip: nn.Module | None = None
        if channels != out or (how and kit.project):
            self.skip = kit.conv(channels, out, 1, **how)
        elif how:
            self.skip = Resampled(kit.taps, None, **how)
        if attend:
            self.norm2 = kit.norm(out)
            self.qkv = kit.attend(nn.Conv2d(out, 3 * out, 1))
            self.proj = kit.last(nn.Conv2d(out, out, 1))

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        """Map x (B, channels, H, W) to (B, out, ., .). emb: (B, D), or (1, D) for all."""
        h = self.conv0(norm_silu(self.norm0, x))
        told = self.affine(emb)[:, :, None, None]
        if self.adaptive:
            scale, shift = told.chunk(2, dim=1)
            h = F.silu(self.norm1(h) * (1 + scale) + shift, inplace=not torch.is_grad_enabled())
        else:
            h = norm_silu(self.norm1, h + told)
        h = self.conv1(self.dropout(h))
        h = ((x if self.skip is None else self.skip(x)) + h) * self.scale
        return (h + self._attention(h)) * self.scale if self.heads else h

    def _attention(self, x: Tensor) -> Tensor:
        h = dense(self.qkv, self.norm2(x).flatten(2).transpose(1, 2))  # (B, HW, 3C)
        # the rows of qkv: heads, then channels, and for each its query, key and value
        q, k, v = h.unflatten(2, (self.heads, -1, 3)).permute(4, 0, 2, 1, 3)
        h = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        return dense(self.proj, h).transpose(1, 2).unflatten(2, x.shape[2:])


class Limits(Protocol):
    """Options of a network that limit its inputs; factor: divides both sides of a state."""

    in_channels: int
    num_classes: int | None
    augment_dim: int
    factor: int


def check_inputs(
    network: Limits, x: Tensor, t: Tensor, label: Tensor | None, augment: Tensor | None
) -> None:
    """Raise ValueError for a state, times, labels or augmentations that do not fit a network."""
    channels, factor, told = network.in_channels, network.factor, network.augment_dim
    if x.ndim != 4 or x.shape[1] != channels:
        raise ValueError(
            f"x has shape {tuple(x.shape)}; by in_channels the network takes states "
            f"(B, {channels}, H, W)"
        )
    if x.shape[2] % factor or x.shape[3] % factor:
        raise ValueError(
            f"x has {x.shape[2]}x{x.shape[3]} pixels; by channel_mult both sides must be "
            f"divisible by {factor}"
        )
    check_conditions(len(x), t, label, network.num_classes)
    if augment is not None and augment.shape != (len(x), told):
        right = f"({len(x)}, {told})" if told else "None"
        raise ValueError(
            f"augment has shape {tuple(augment.shape)}; by augment_dim {told} it must be {right}"
        )


def levels_of(
    image_size: int,
    model_channels: int,
    channel_mult: Sequence[int],
    attn_resolutions: Sequence[int],
) -> list[Level]:
    """Describe every level, the largest first. Raises ValueError as `level_sides` does."""
    sides = level_sides(image_size, len(channel_mult), attn_resolutions)
    return [
        Level(side, model_channels * mult, side in attn_resolutions)
        for side, mult in zip(sides, channel_mult, strict=True)
    ]


def on_cpu(h: Tensor) -> Tensor:
    """Give h on a CPU the layout that its convolutions compute in, and repack any other to."""
    return h.contiguous(memory_format=torch.channels_last) if h.device.type == "cpu" else h


def one_hot(label: Tensor, layer: nn.Linear, scale: float = 1.0) -> Tensor:
    """Apply a layer to one-hot vectors of labels (B,) times `scale`: columns of its weight."""
    h = scale * F.embedding(label, layer.weight.T)
    return h if layer.bias is None else h + layer.bias
