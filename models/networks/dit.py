"""DiT, a transformer on patches of images (Peebles and Xie 2022, arXiv 2212.09748)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from configs.parts import require
from configs.values import Count, Positive
from models.networks.adm_blocks import waves
from models.networks.blocks import check_conditions
from models.parts import NETWORKS

WAVES = 256  # numbers that tell of the time, before its two layers
EPS = 1e-6  # of the norms
SHAPE = {
    **{"image_size": "side", "in_channels": "channels", "out_channels": "answer"},
    "num_classes": "classes",
}


@NETWORKS.part("dit", title="DiT", paper="2212.09748", shape=SHAPE)
class DiT(nn.Module):
    """Diffusion transformer whose layer norms are scaled, shifted and gated by time and class
    (adaLN-Zero). Its answer begins as zeros.

    image_size    side of the images, divisible by patch_size; see `forward`
    in_channels   channels of the state; out_channels: of the answer
    num_classes   rows of the label embedding; null: no labels
    patch_size    side of a patch, which is one token
    hidden_size   width of a token, divisible by 4 and by num_heads
    depth         number of blocks
    num_heads     of the attention
    mlp_ratio     width inside the two dense layers of a block, as a multiple of hidden_size

    The defaults are DiT-S/2. DiT-XL/2 has hidden_size 1152, depth 28 and num_heads 16; on latents
    of side 32 with 4 channels, answers of 8 and 1001 label rows it has 674,834,720 numbers, and
    294,912 in its fixed position table. Names and shapes of the state dict are those of the
    published networks, whose last label row is "no class". Raises ValueError for options that do
    not fit together.
    """

    pos_embed: Tensor

    def __init__(
        self,
        image_size: Count = 32,
        in_channels: Count = 3,
        out_channels: Count = 3,
        num_classes: Count | None = None,
        patch_size: Count = 2,
        hidden_size: Count = 384,
        depth: Count = 12,
        num_heads: Count = 6,
        mlp_ratio: Positive = 4.0,
    ):
        super().__init__()
        require(DiT, image_size=image_size, in_channels=in_channels, out_channels=out_channels)
        require(DiT, num_classes=num_classes, patch_size=patch_size, hidden_size=hidden_size)
        require(DiT, depth=depth, num_heads=num_heads, mlp_ratio=mlp_ratio)
        _check(image_size, patch_size, hidden_size, num_heads)
        self.in_channels, self.out_channels = in_channels, out_channels
        self.num_classes, self.patch_size = num_classes, patch_size
        self.side = image_size // patch_size
        inner = max(1, int(hidden_size * mlp_ratio))

        self.x_embedder = nn.ModuleDict(
            {"proj": nn.Conv2d(in_channels, hidden_size, patch_size, patch_size)}
        )
        self.t_embedder = nn.ModuleDict(
            {
                "mlp": nn.Sequential(
                    nn.Linear(WAVES, hidden_size), nn.SiLU(), nn.Linear(hidden_size, hidden_size)
                )
            }
        )
        self.y_embedder = None
        if num_classes:
            self.y_embedder = nn.ModuleDict(
                {"embedding_table": nn.Embedding(num_classes, hidden_size)}
            )
        self.register_buffer("pos_embed", positions(self.side, self.side, hidden_size).float())
        self.blocks = nn.ModuleList(Block(hidden_size, num_heads, inner) for _ in range(depth))
        self.final_layer = Final(hidden_size, patch_size**2 * out_channels)
        _draw_weights(self)

    def forward(self, x: Tensor, t: Tensor, label: Tensor | None = None) -> Tensor:
        """Map states x (B, in_channels, H, W) at times t to (B, out_channels, H, W).

        H and W: any sides divisible by patch_size; for others than image_size the position table is
        computed anew. t: (B,), or (1,) for all states; whole numbers or fractions. label: int64
        (B,), exactly where num_classes is set. The result has the dtype (except under autocast) and
        the device of x. Raises ValueError for other shapes, and for other labels.
        """
        self._check_inputs(x, t, label)
        dtype = torch.float64 if x.dtype == torch.float64 else torch.float32
        told = self.t_embedder["mlp"](waves(t, WAVES, dtype).to(x.dtype))
        if self.y_embedder is not None and label is not None:
            told = told + self.y_embedder["embedding_table"](label)
        told = F.silu(told)  # every block needs silu(told) and none needs told
        h = self.x_embedder["proj"](x)
        rows, columns = h.shape[2:]
        h = h.flatten(2).transpose(1, 2)
        # under autocast the tokens become float32 here, and their sums stay so
        h = h + self._positions(rows, columns, h.shape[2]).to(x.dtype)
        for block in self.blocks:
            h = block(h, told)
        h = self.final_layer(h, told)
        side = self.patch_size  # of a token: rows, then columns of its patch, then channels
        h = h.unflatten(2, (side, side, -1)).unflatten(1, (rows, columns))
        return h.permute(0, 5, 1, 3, 2, 4).flatten(4).flatten(2, 3)

    def _positions(self, rows: int, columns: int, width: int) -> Tensor:
        if (rows, columns) == (self.side, self.side):
            return self.pos_embed
        return positions(rows, columns, width, self.pos_embed.device)

    def _check_inputs(self, x: Tensor, t: Tensor, label: Tensor | None) -> None:
        if x.ndim != 4 or x.shape[1] != self.in_channels:
            raise ValueError(
                f"x has shape {tuple(x.shape)}; by in_channels the network takes states "
                f"(B, {self.in_channels}, H, W)"
            )
        if x.shape[2] % self.patch_size or x.shape[3] % self.patch_size:
            raise ValueError(
                f"x has {x.shape[2]}x{x.shape[3]} pixels; both sides must be divisible by "
                f"patch_size, {self.patch_size}"
            )
        check_conditions(len(x), t, label, self.num_classes)


class Block(nn.Module):
    """Self-attention, then two dense layers, each with a norm before it and a residual connection;
    the condition scales and shifts the norms and gates the branches (adaLN-Zero).
    """

    def __init__(self, width: int, heads: int, inner: int):
        super().__init__()
        self.heads = heads
        self.attn = nn.ModuleDict(
            {"qkv": nn.Linear(width, 3 * width), "proj": nn.Linear(width, width)}
        )
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(width, inner), "fc2": nn.Linear(inner, width)})
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 6 * width))

    def forward(self, h: Tensor, told: Tensor) -> Tensor:
        """Map tokens (B, N, width). told: (B, width) or (1, width), after SiLU."""
        told = self.adaLN_modulation[1](told)[:, None]
        shift, scale, gate, shift2, scale2, gate2 = told.chunk(6, dim=2)
        h = h + gate * self._attend(modulated(h, shift, scale))
        inner = self.mlp["fc1"](modulated(h, shift2, scale2))
        return h + gate2 * self.mlp["fc2"](F.gelu(inner, approximate="tanh"))

    def _attend(self, h: Tensor) -> Tensor:
        # the rows of qkv: all queries, all keys, all values, and in each head after head
        q, k, v = self.attn["qkv"](h).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        h = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        return self.attn["proj"](h)


class Final(nn.Module):
    """Map tokens to the numbers of their patches."""

    def __init__(self, width: int, out: int):
        super().__init__()
        self.linear = nn.Linear(width, out)
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 2 * width))

    def forward(self, h: Tensor, told: Tensor) -> Tensor:
        """Map (B, N, width) to (B, N, out). told: (B, width) or (1, width), after SiLU."""
        shift, scale = self.adaLN_modulation[1](told)[:, None].chunk(2, dim=2)
        return self.linear(modulated(h, shift, scale))


def modulated(h: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """Normalise tokens (B, N, D), then scale and shift them (2212.09748, section 3.2)."""
    return F.layer_norm(h, h.shape[-1:], eps=EPS) * (1 + scale) + shift


def positions(rows: int, columns: int, width: int, device: torch.device | None = None) -> Tensor:
    """Position table (1, rows * columns, width), float64: the first half of a token's numbers tells
    its column, the second its row, each by sines, then cosines, of the index 10000^(-4 i / width).
    """
    quarter = width // 4
    frequency = 10000.0 ** -(torch.arange(quarter, dtype=torch.float64, device=device) / quarter)
    halves = []
    for count in (columns, rows):
        angle = torch.arange(count, dtype=torch.float64, device=device)[:, None] * frequency
        halves.append(torch.cat([angle.sin(), angle.cos()], dim=1))
    across, down = halves
    both = [across.expand(rows, -1, -1), down[:, None].expand(-1, columns, -1)]
    return torch.cat(both, dim=2).flatten(0, 1)[None]


@torch.no_grad()
def _draw_weights(network: DiT) -> None:
    """Draw weights as the paper: Glorot's, but a small normal deviation for time and labels, and
    zeros where a gate, or the answer, begins.
    """
    for name, layer in network.named_modules():
        if not isinstance(layer, nn.Linear | nn.Conv2d | nn.Embedding):
            continue
        if "adaLN_modulation" in name or name == "final_layer.linear":
            nn.init.zeros_(layer.weight)
        elif isinstance(layer, nn.Embedding) or name.startswith("t_embedder"):
            nn.init.normal_(layer.weight, std=0.02)
        else:
            nn.init.xavier_uniform_(layer.weight.flatten(1))
        if not isinstance(layer, nn.Embedding) and layer.bias is not None:
            nn.init.zeros_(layer.bias)


def _check(image_size: int, patch_size: int, hidden_size: int, num_heads: int) -> None:
    if image_size % patch_size:
        raise ValueError(f"patch_size: {patch_size} does not divide image_size, {image_size}")
    if hidden_size % num_heads:
        raise ValueError(f"num_heads: {num_heads} does not divide hidden_size, {hidden_size}")
    if hidden_size % 4:
        raise ValueError(
            f"hidden_size: {hidden_size} must be a multiple of 4, because of the position table"
        )
