"""Small residual classifier, and its training."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class SmallNet(nn.Module):
    """Residual classifier with global pooling; at 256 pixels as cheap as at 32.

    The stem reduces images to at most 63 pixels; the blocks halve them down to 4 to 7 pixels and
    widen to `dim` features: 64 for images below 16 pixels, else 128.
    """

    def __init__(self, channels: int, size: int, classes: int) -> None:
        super().__init__()
        self.dim, stride = (64 if size < 16 else 128), max(1, size // 32)
        self.stem = nn.Conv2d(channels, 32, 2 * stride + 1, stride, padding=stride, bias=False)
        halvings = max(1, int(math.log2(max(1, size // stride))) - 2)
        widths = [32, *(min(self.dim, 64 * 2**i) for i in range(halvings))]
        self.blocks = nn.Sequential(
            *(_Block(a, b, 2) for a, b in zip(widths[:-1], widths[1:], strict=True)),
            _Block(widths[-1], self.dim, 1),
        )
        self.head = nn.Linear(self.dim, classes)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Compute features (n, dim) and logits (n, classes) of images with values 0 to 255."""
        features = self.blocks(self.stem(x.float() / 127.5 - 1)).mean((2, 3))
        return features, self.head(features)


class _Block(nn.Module):
    def __init__(self, inner: int, outer: int, stride: int) -> None:
        super().__init__()
        self.main = nn.Sequential(
            nn.BatchNorm2d(inner),
            nn.ReLU(),
            nn.Conv2d(inner, outer, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(outer),
            nn.ReLU(),
            nn.Conv2d(outer, outer, 3, padding=1, bias=False),
        )
        self.skip = nn.Conv2d(inner, outer, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.main(x) + self.skip(x)


def new_network(shape: tuple[int, ...], classes: int, seed: int) -> SmallNet:
    """Make a network for images (C, H, W), its weights drawn from `seed`.

    The caller's random state does not change.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed the GPUs too
        return SmallNet(shape[0], min(shape[1:]), classes)


def fit(network: SmallNet, images: Tensor, target: Tensor, seed: int) -> float:
    """Train by AdamW on randomly shifted images; return the accuracy on held-out images."""
    device = network.head.weight.device
    generator = torch.Generator().manual_seed(seed)
    spare = min(5000, len(images) // 10)
    held, rest = torch.randperm(len(images), generator=generator).tensor_split([spare])
    batch = min(128, len(rest))
    steps = min(400_000, max(40_000, 3 * len(rest))) // 128
    epochs = range(1 + steps * batch // len(rest))
    order = torch.cat([rest[torch.randperm(len(rest), generator=generator)] for _ in epochs])
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
    with torch.enable_grad(), torch.autocast(device.type, enabled=False):
        network.train()
        for rows in order[: steps * batch].split(batch):
            x = _shift(images[rows].to(device), generator)
            loss = F.cross_entropy(network(x)[1], target[rows].to(device))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        return _accuracy(network.eval(), images[held], target[held])


@torch.no_grad()
def _accuracy(network: SmallNet, images: Tensor, target: Tensor) -> float:
    device = network.head.weight.device
    guesses = [network(part.to(device))[1].argmax(1).cpu() for part in images.split(512)]
    return float((torch.cat(guesses) == target).double().mean())


def _shift(x: Tensor, generator: torch.Generator) -> Tensor:
    """Shift a batch by up to an eighth of its side in each direction; the border is repeated."""
    reach = max(1, min(x.shape[2:]) // 8)
    dy, dx = torch.randint(0, 2 * reach + 1, (2,), generator=generator).tolist()
    padded = F.pad(x.float(), [reach] * 4, mode="replicate")
    return padded[:, :, dy : dy + x.shape[2], dx : dx + x.shape[3]]
