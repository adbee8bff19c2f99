"""How well do holes get filled? Fills of an exact mixture of ten digits against the truth.

    python benchmarks/inpainting.py

The data are a Gaussian for every class of scikit-learn's 8x8 digits, so the best noise estimate,
and mean and variance of a hole given the rest, are known in closed form. Prints a Markdown table:
the squared bias of the fills' mean in units of the true variance, and the ratio of the variances.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # the project is run, not installed

from functions.denoiser import Denoiser  # noqa: E402
from functions.grids import uniform  # noqa: E402
from functions.inpainting import Known, resampled  # noqa: E402
from functions.plan import Plan, solve  # noqa: E402
from functions.process import VP  # noqa: E402
from functions.samplers import ddim, ddpm  # noqa: E402

STEPS, FILLS, SEED = 50, 64, 1
IMAGES = (0, 13, 26, 39)  # of the data set, once with the right half hidden, once with the middle
JUMPS = ((5, 5), (1, 10), (2, 10), (10, 10))
FLOOR = 0.01  # added to the variance of every pixel, as some pixels are always black


class Mixture(nn.Module):
    """E[noise | x_t] for a mixture of Gaussians with full covariances, and its conditionals."""

    def __init__(self, process: VP, images: Tensor, labels: Tensor) -> None:
        super().__init__()
        parts = [images[labels == label] for label in labels.unique()]
        self.process, eye = process, torch.eye(images.shape[1], dtype=images.dtype)
        self.means = torch.stack([part.mean(0) for part in parts])
        self.covariances = torch.stack([torch.cov(part.T) + FLOOR * eye for part in parts])
        self.values, self.vectors = torch.linalg.eigh(self.covariances)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        alpha, sigma = self.process.alpha(t[0]), self.process.sigma(t[0])
        spread = alpha**2 * self.values + sigma**2
        gaps = x.flatten(1)[:, None] - alpha * self.means
        turned = torch.einsum("kji,bkj->bki", self.vectors, gaps)
        share = torch.softmax(-0.5 * (turned**2 / spread + spread.log()).sum(-1), 1)
        pulls = torch.einsum("kij,bkj->bki", self.vectors, turned / spread)
        return (sigma * (share[..., None] * pulls).sum(1)).view_as(x)

    def given(self, image: Tensor, hole: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance of the hidden pixels; image and hole (pixels,)."""
        kept = ~hole
        own, cross = self.covariances[:, kept][:, :, kept], self.covariances[:, hole][:, :, kept]
        gain = torch.linalg.solve(own, cross.mT).mT
        gaps = image[kept] - self.means[:, kept]
        pulls = torch.linalg.solve(own, gaps[..., None])[..., 0]
        share = torch.softmax(-0.5 * ((gaps * pulls).sum(-1) + torch.logdet(own)), 0)[:, None]
        means = self.means[:, hole] + torch.einsum("khj,kj->kh", gain, gaps)
        left = self.covariances[:, hole][:, :, hole] - gain @ cross.mT
        mean = (share * means).sum(0)
        variances = left.diagonal(dim1=1, dim2=2) + (means - mean) ** 2
        return mean, (share * variances).sum(0)


def errors(denoiser: Denoiser, plan: Plan, images: Tensor, holes: Tensor) -> tuple[float, float]:
    """Squared bias over variance (less what is expected of so few fills) and variance ratio, means
    over the images (n, 64) with their holes.
    """
    mixture = denoiser.network
    assert isinstance(mixture, Mixture)
    torch.manual_seed(SEED)
    many = [part.repeat_interleave(FILLS, 0).view(-1, 1, 8, 8) for part in (images, holes)]
    project = Known(denoiser.process, many[0], many[1], torch.randn_like, denoiser.x0)
    predict = denoiser.eps if plan.basis == "eps" else denoiser.x0
    *_, filled = solve(plan, predict, torch.randn_like(many[0]), project=project)
    bias, ratio = [], []
    for image, hole, own in zip(images, holes, filled.view(-1, FILLS, 64), strict=True):
        mean, variance = mixture.given(image, hole)
        drawn = own[:, hole]
        bias.append(float((drawn.mean(0) - mean).square().sum() / variance.sum()) - 1 / FILLS)
        ratio.append(float(drawn.var(0).sum() / variance.sum()))
    return sum(bias) / len(bias), sum(ratio) / len(ratio)


@torch.no_grad()
def main() -> None:
    """Measure and print."""
    digits, process = load_digits(), VP()
    data = torch.from_numpy(digits.data).double() / 8 - 1
    denoiser = Denoiser(Mixture(process, data, torch.from_numpy(digits.target)), process)
    half, middle = torch.zeros(2, 8, 8, dtype=torch.bool)
    half[:, 4:] = middle[2:6, 2:6] = True
    images = data[list(IMAGES)].repeat(2, 1)
    holes = torch.stack([half, middle]).flatten(1).repeat_interleave(len(IMAGES), 0)
    grid = uniform(process, STEPS)
    plans = {"ddim": ddim(process, grid), "ddpm:small": ddpm(process, grid, "small")}
    print("| | replace | " + " | ".join(f"repaint:{j}:{n}" for j, n in JUMPS) + " |")
    print("|---" * (len(JUMPS) + 2) + "|")
    for name, plan in plans.items():
        walks = [plan, *(resampled(process, plan, jump, times) for jump, times in JUMPS)]
        cells = ["{:.2f}, {:.2f}".format(*errors(denoiser, walk, images, holes)) for walk in walks]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
