"""Blocks of EDM2 that keep magnitudes (Karras et al. 2024, arXiv 2312.02696, appendix B)."""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

HEAD = 64  # channels of a head of the attention
SILU = 0.596  # root mean square of silu of a standard normal number
EPS = 1e-4


def normalised(x: Tensor, dim: int | tuple[int, ...]) -> Tensor:
    """Divide x by its root mean square over `dim`, and a little more, so that zeros stay."""
    dims = (dim,) if isinstance(dim, int) else dim
    count = math.prod(x.shape[d] for d in dims)
    wide = x.dtype if x.dtype == torch.float64 else torch.float32
    norm = torch.linalg.vector_norm(x, dim=dims, keepdim=True, dtype=wide) / math.sqrt(count)
    return x / (norm + EPS).to(x.dtype)


def mp_silu(x: Tensor) -> Tensor:
    """Compute silu(x), of mean square 1 for standard normal x (2312.02696, equation 81)."""
    return F.silu(x) / SILU


def mp_sum(a: Tensor, b: Tensor, t: float) -> Tensor:
    """Mix a and b, of mean square 1 and uncorrelated, with a share t of b (equation 88)."""
    return torch.lerp(a, b.to(a.dtype), t) / math.hypot(1 - t, t)


def mp_cat(a: Tensor, b: Tensor, t: float) -> Tensor:
    """Join channels of a and b, which contribute 1 - t and t whatever their number (equation
    103).
    """
    ways = [(a, 1 - t), (b, t)]
    both = math.sqrt((a.shape[1] + b.shape[1]) / ((1 - t) ** 2 + t**2))
    return torch.cat([both * share / math.sqrt(h.shape[1]) * h for h, share in ways], 1)


class Fourier(nn.Module):
    """Waves (N,) -> (N, channels) of mean square 1, their frequencies and phases drawn once
    (equation 75).
    """

    freqs: Tensor
    phases: Tensor

    def __init__(self, channels: int):
        super().__init__()
        self.register_buffer("freqs", 2 * math.pi * torch.randn(channels))
        self.register_buffer("phases", 2 * math.pi * torch.rand(channels))

    def forward(self, t: Tensor, like: Tensor) -> Tensor:
        """Embed t, in float64 where `like` is float64, else in float32."""
        dtype = torch.float64 if like.dtype == torch.float64 else torch.float32
        angle = t.to(dtype)[:, None] * self.freqs.to(dtype) + self.phases.to(dtype)
        return (math.sqrt(2) * angle.cos()).to(like.dtype)


class Dense(nn.Module):
    """Linear layer, or with `kernel` a convolution, without bias, whose rows have norm 1: in every
    pass (equation 47), and in training the weights themselves (equation 66), so that the size of
    their updates does not shrink as they grow.
    """

    def __init__(self, channels: int, out: int, kernel: int | None = None):
        super().__init__()
        self.out_channels = out
        sides = () if kernel is None else (kernel, kernel)
        self.weight = nn.Parameter(torch.randn(out, channels, *sides))

    def forward(self, x: Tensor, gain: Tensor | float = 1.0) -> Tensor:
        """Map (B, channels) or (B, channels, H, W), times `gain`."""
        weight = self._rows(gain).to(x.dtype)
        if weight.ndim == 2:
            return F.linear(x, weight)
        return F.conv2d(x, weight, padding=weight.shape[-1] // 2)

    def columns(self, label: Tensor) -> Tensor:
        """Apply a linear layer to one-hot vectors of labels (B,)."""
        return F.embedding(label, self._rows(1.0).T)

    def _rows(self, gain: Tensor | float) -> Tensor:
        dims = tuple(range(1, self.weight.ndim))
        if self.training:
            with torch.no_grad():
                self.weight.copy_(normalised(self.weight, dims))
        return normalised(self.weight, dims) * (gain / math.sqrt(self.weight[0].numel()))


class Block(nn.Module):
    """Residual block, told of the embedding by a factor for each channel; then self-attention where
    attend. encode: of the way down, where pixels are normalised first and the 1x1 convolution of a
    change of width comes before both branches.
    """

    def __init__(
        self,
        channels: int,
        out: int,
        resample: Literal["keep", "down", "up"] = "keep",
        *,
        encode: bool = False,
        attend: bool = False,
        emb: int,
        dropout: float,
        clip: float,
        res_balance: float,
        attn_balance: float,
    ):
        super().__init__()
        heads = max(1, out // HEAD)
        if attend and out % heads:
            raise ValueError(
                f"model_channels: a level with attention has {out} channels, which do not divide "
                f"into {heads} heads; a multiple of {HEAD} always fits"
            )
        self.out_channels, self.resample, self.encode = out, resample, encode
        self.heads, self.clip = heads if attend else 0, clip
        self.res_balance, self.attn_balance = res_balance, attn_balance
        self.emb_gain = nn.Parameter(torch.zeros(()))
        self.conv_res0 = Dense(out if encode else channels, out, 3)
        self.emb_linear = Dense(emb, out)
        self.dropout = nn.Dropout(dropout)
        self.conv_res1 = Dense(out, out, 3)
        self.conv_skip = Dense(channels, out, 1) if channels != out else None
        self.attn_qkv = Dense(out, 3 * out, 1) if attend else None
        self.attn_proj = Dense(out, out, 1) if attend else None

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        """Map x (B, channels, H, W) to (B, out, ., .). emb: (B, D), or (1, D) for all."""
        if self.resample == "down":
            x = F.avg_pool2d(x, 2)
        elif self.resample == "up":
            x = F.interpolate(x, scale_factor=2.0, mode="nearest")
        skip = nn.Identity() if self.conv_skip is None else self.conv_skip
        if self.encode:
            x = normalised(skip(x), 1)
        h = self.conv_res0(mp_silu(x))
        factor = 1 + self.emb_linear(emb, self.emb_gain)[:, :, None, None]
        h = self.conv_res1(self.dropout(mp_silu(h * factor.to(h.dtype))))
        x = mp_sum(x if self.encode else skip(x), h, self.res_balance)
        if self.attn_qkv is not None and self.attn_proj is not None:
            x = mp_sum(x, self.attn_proj(self._attend(self.attn_qkv(x))), self.attn_balance)
        return x.clamp(-self.clip, self.clip) if self.clip else x

    def _attend(self, h: Tensor) -> Tensor:
        # channels of qkv: heads, then channels, and for each its query, key and value
        parts = h.flatten(2).unflatten(1, (self.heads, -1, 3))  # (B, heads, channels, 3, HW)
        q, k, v = normalised(parts, 2).transpose(2, 4).unbind(3)
        a = F.scaled_dot_product_attention(q, k, v)
        return a.transpose(2, 3).flatten(1, 2).unflatten(2, h.shape[2:])
