"""Our UNet and diffusers' UNet2DModel, equal in architecture and weights, and one step of each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models import build

CIFAR10 = {
    "image_size": 32,
    "in_channels": 3,
    "out_ch": 3,
    "ch": 128,
    "ch_mult": (1, 2, 2, 2),
    "num_res_blocks": 2,
    "attn_resolutions": (16,),
    "dropout": 0.0,
}
SMALL = CIFAR10 | {"ch": 32, "ch_mult": (1, 2), "num_res_blocks": 1}
CIFAR10_PARAMETERS = 35_746_307
NO_PEER = "peer not installed: rows without diffusers"


@dataclass(frozen=True)
class Setting:
    """How a network is run: precision is "fp32", "tf32" (CUDA) or "bf16" (autocast)."""

    precision: str = "fp32"
    channels_last: bool = False
    compile: bool = False

    def __str__(self) -> str:
        words = [self.precision]
        words += ["channels_last"] * self.channels_last + ["compile"] * self.compile
        return " ".join(words)

    def layout(self, tensor: Tensor) -> Tensor:
        """The tensor in this setting's memory format."""
        last = torch.channels_last
        return tensor.contiguous(memory_format=last) if self.channels_last else tensor

    def autocast(self, device: torch.device) -> torch.autocast:
        """bf16 where asked for, nothing otherwise."""
        return torch.autocast(device.type, torch.bfloat16, enabled=self.precision == "bf16")

    def prepare(self, network: nn.Module, device: torch.device) -> nn.Module:
        """The network on the device, laid out and compiled as asked."""
        network = network.to(device)
        if self.channels_last:
            network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return torch.compile(network, dynamic=False) if self.compile else network


class Peer(nn.Module):
    """diffusers' network with our call shape: (x, t) -> noise."""

    def __init__(self, options: dict) -> None:
        super().__init__()
        from diffusers import UNet2DModel

        self.unet = UNet2DModel(**peer_config(options))

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        return self.unet(x, t, return_dict=False)[0]


def peer_config(options: dict) -> dict:
    """The DDIM repository's keys as UNet2DModel's, the way the converted DDPM models have them."""
    sides = [options["image_size"] >> i for i in range(len(options["ch_mult"]))]
    attend = ["Attn" if side in options["attn_resolutions"] else "" for side in sides]
    return {
        "sample_size": options["image_size"],
        "in_channels": options["in_channels"],
        "out_channels": options["out_ch"],
        "block_out_channels": tuple(options["ch"] * m for m in options["ch_mult"]),
        "layers_per_block": options["num_res_blocks"],
        "down_block_types": tuple(f"{a}DownBlock2D" for a in attend),
        "up_block_types": tuple(f"{a}UpBlock2D" for a in reversed(attend)),
        "attention_head_dim": None,
        "downsample_padding": 0,
        "flip_sin_to_cos": False,
        "freq_shift": 1,
        "norm_eps": 1e-6,
        "dropout": options["dropout"],
    }


def peer_installed() -> bool:
    """Whether diffusers can be imported."""
    try:
        import diffusers  # noqa: F401
    except ImportError:
        return False
    return True


def same_weights(options: dict) -> tuple[nn.Module, Peer | None]:
    """Both networks with equal weights; the peer is None where diffusers is not installed.

    Raises RuntimeError where parameter counts differ: nothing would then be comparable.
    """
    torch.manual_seed(0)
    ours = build("ddpm", **options)
    count = sum(p.numel() for p in ours.parameters())
    if options == CIFAR10 and count != CIFAR10_PARAMETERS:
        raise RuntimeError(f"our CIFAR-10 network has {count} parameters, not {CIFAR10_PARAMETERS}")
    if not peer_installed():
        return ours, None
    from models.interop import load_foreign

    peer = Peer(options)
    theirs = sum(p.numel() for p in peer.parameters())
    if theirs != count:
        raise RuntimeError(f"parameter counts differ: ours {count}, diffusers {theirs}")
    load_foreign(ours, peer.unet.state_dict(), layout="diffusers")
    return ours, peer


@torch.no_grad()
def disagreement(ours: nn.Module, peer: nn.Module, x: Tensor, t: Tensor) -> float:
    """The largest difference of the two answers, relative to the largest answer."""
    ours.eval(), peer.eval()
    want = peer(x, t)
    return float((ours(x, t) - want).abs().max() / want.abs().max())


def batch(options: dict, n: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Noisy images, times and noise of the right shapes."""
    generator = torch.Generator().manual_seed(0)
    shape = (n, options["in_channels"], options["image_size"], options["image_size"])
    x, noise = (torch.randn(shape, generator=generator).to(device) for _ in range(2))
    return x, torch.randint(0, 1000, (n,), generator=generator).to(device), noise


def forward_task(network: nn.Module, setting: Setting, x: Tensor, t: Tensor) -> Callable[[], None]:
    """One forward pass without gradients."""
    x = setting.layout(x)

    @torch.no_grad()
    def task() -> None:
        network.eval()
        with setting.autocast(x.device):
            network(x, t)

    return task


def training_task(
    network: nn.Module, setting: Setting, x: Tensor, t: Tensor, noise: Tensor, steps: int = 1
) -> Callable[[], None]:
    """`steps` training steps: mean squared error, backward, Adam."""
    x, noise = setting.layout(x), setting.layout(noise)
    fused = x.device.type == "cuda"
    adam = torch.optim.Adam(network.parameters(), lr=2e-4, fused=fused)

    def task() -> None:
        network.train()
        for _ in range(steps):
            with setting.autocast(x.device):
                answer = network(x, t)
            F.mse_loss(answer.float(), noise).backward()
            adam.step()
            adam.zero_grad(set_to_none=True)

    return task
