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
from torch import Tensor

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # the project is run, not installed

from functions.editing.inpainting import Known, resampled  # noqa: E402
from functions.grids import power, uniform  # noqa: E402
from functions.plan import Plan, solve  # noqa: E402
from functions.process import CLD, VP, Process  # noqa: E402
from functions.samplers import ddim, ddpm  # noqa: E402

STEPS, FILLS, SEED = 50, 64, 1
IMAGES = (0, 13, 26, 39)  # of the data set, once with the right half hidden, once with the middle
JUMPS = ((5, 5), (1, 10), (2, 10), (10, 10), (16, 10))
FLOOR = 0.01  # added to the variance of every pixel, as some pixels are always black


class Mixture:
    """E[noise | x_t] for a mixture of Gaussians with full covariances, and its conditionals."""

    def __init__(self, process: Process, images: Tensor, labels: Tensor) -> None:
        parts = [images[labels == label] for label in labels.unique()]
        self.process, eye = process, torch.eye(images.shape[1], dtype=images.dtype)
        self.means = torch.stack([part.mean(0) for part in parts])
        self.covariances = torch.stack([torch.cov(part.T) + FLOOR * eye for part in parts])
        self.values, self.vectors = torch.linalg.eigh(self.covariances)

    def eps(self, x: Tensor, t: Tensor | float) -> Tensor:
        """The best estimate of the noise in states x (n, groups, 8, 8)."""
        time = torch.as_tensor(t, dtype=torch.float64)
        gain, factor = self.process.mean(time)[..., :1], self.process.factor(time)
        gaps = x.flatten(2)[:, None] - gain * self.means[:, None]
        turned = torch.einsum("kpj,bkgp->bkjg", self.vectors, gaps)
        spread = self.values[..., None, None] * gain @ gain.mT + factor @ factor.mT
        pulls = torch.einsum("kjgh,bkjh->bkjg", torch.linalg.inv(spread), turned)
        logs = (turned * pulls).sum((-1, -2)) + torch.logdet(spread).sum(-1)
        share = torch.softmax(-0.5 * logs, 1)[..., None, None]
        pull = (share * torch.einsum("kpj,bkjg->bkgp", self.vectors, pulls)).sum(1)
        return (factor.mT @ pull).view_as(x)

    def x0(self, x: Tensor, t: Tensor | float) -> Tensor:
        """The best estimate of the clean image, of VP."""
        time = torch.as_tensor(t, dtype=torch.float64)
        mean, factor = self.process.mean(time).squeeze(), self.process.factor(time).squeeze()
        return (x - factor * self.eps(x, t)) / mean

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


def errors(mixture: Mixture, plan: Plan, images: Tensor, holes: Tensor) -> tuple[float, float]:
    """Squared bias over variance (less what is expected of so few fills) and variance ratio, means
    over the images (n, 64) with their holes.
    """
    process = mixture.process
    torch.manual_seed(SEED)
    many = [part.repeat_interleave(FILLS, 0).view(-1, 1, 8, 8) for part in (images, holes)]
    # the clean estimate is asked for only where a process blurs: none here
    project = Known(process, many[0], many[1], torch.randn_like, lambda x, _: x)
    start = process.prior(tuple(many[0].shape), torch.randn_like).double()
    predict = mixture.eps if plan.basis == "eps" else mixture.x0
    *_, x = solve(plan, predict, start, project=project)
    filled = process.drop(x)
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
    digits = load_digits()
    data, labels = torch.from_numpy(digits.data).double() / 8 - 1, torch.from_numpy(digits.target)
    half, middle = torch.zeros(2, 8, 8, dtype=torch.bool)
    half[:, 4:] = middle[2:6, 2:6] = True
    images = data[list(IMAGES)].repeat(2, 1)
    holes = torch.stack([half, middle]).flatten(1).repeat_interleave(len(IMAGES), 0)
    vp, cld = VP(), CLD()
    plans = {
        "vp, ddim": (vp, ddim(vp, uniform(vp, STEPS))),
        "vp, ddpm:small": (vp, ddpm(vp, uniform(vp, STEPS), "small")),
        "cld, ddim": (cld, ddim(cld, power(cld, STEPS))),
    }
    print("| | replace | " + " | ".join(f"repaint:{j}:{n}" for j, n in JUMPS) + " |")
    print("|---" * (len(JUMPS) + 2) + "|")
    for name, (process, plan) in plans.items():
        mixture = Mixture(process, data, labels)
        walks = [plan, *(resampled(process, plan, jump, times) for jump, times in JUMPS)]
        cells = ["{:.2f}, {:.2f}".format(*errors(mixture, walk, images, holes)) for walk in walks]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
