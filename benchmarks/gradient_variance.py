"""Variance of the gradient: times of the under-sampler against uniform times with P2's weights.

    python main.py --config digits.yml --doc digits --loss.name simple --ni
    python benchmarks/gradient_variance.py exp/logs/digits --draws 400

Both have one expected gradient, once the under-sampler's is multiplied by the mean weight. Takes
the raw weights of a run (--step: of an earlier checkpoint) without dropout, and draws minibatch
gradients. Prints trace(Cov) / |mean|^2 of each scheme for a batch of one image, with its standard
error, the ratio of the two, and the cosine of their means; writes it to --out as JSON.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # the project is run, not installed

from configs.schema import Config, load  # noqa: E402
from datasets import get_dataset  # noqa: E402
from datasets.transforms import to_model  # noqa: E402
from functions.denoiser import Denoiser  # noqa: E402
from functions.loss import LOSSES  # noqa: E402
from functions.process import Process  # noqa: E402
from functions.times import TIMES, TimeSampler  # noqa: E402
from functions.weights import p2  # noqa: E402
from runners.machine.seeds import seed_step  # noqa: E402
from runners.model import weights  # noqa: E402
from runners.model.load import open_model  # noqa: E402

GROUPS = 10  # of draws: the spread of their variances is the standard error


@dataclass(frozen=True)
class Scheme:
    """Times, and the factor of each loss."""

    name: str
    times: TimeSampler
    factor: Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Measured:
    """Trace of the covariance of a scheme's gradient for a batch of one image, its standard error,
    and |mean gradient|^2 without its own noise.
    """

    name: str
    trace: float
    error: float
    squared_mean: float


def schemes(config: Config, process: Process, gamma: float, k: float) -> list[Scheme]:
    """Uniform times with P2's weights, and the under-sampler scaled to the same expectation."""
    training = config.training.model_copy(update={"weight": f"p2:{k}:{gamma}"})
    weight = config.model_copy(update={"training": training}).weight(process)
    under, uniform = TIMES["under"](process, gamma=gamma, k=k), TIMES["uniform"](process)
    mean = p2(process, under.density()[0], k=k, gamma=gamma).mean()
    return [
        Scheme(f"uniform, p2:{k:g}:{gamma:g}", uniform, weight),
        # weight / p2 is the conversion from eps to the network's prediction, 1 where it is eps
        Scheme(
            f"under:{gamma:g}:{k:g}",
            under,
            lambda t: mean * weight(t) / p2(process, t, k=k, gamma=gamma),
        ),
    ]


class Study:
    """A run's network and images. batch: images of a minibatch; draws: minibatches of a scheme."""

    def __init__(self, args: argparse.Namespace) -> None:
        run, self.device = Path(args.run), torch.device(args.device)
        self.config = load(run / "config.yml")
        model = open_model(self.config, weights.of_run(run, args.step)[-1], self.device)
        self.process, self.network = model.process, model.network
        self.denoiser: Denoiser = self.config.denoiser(self.network, self.process)
        self.images, _ = get_dataset(self.config, Path(args.datasets))
        self.batch, self.draws = args.batch, args.draws // GROUPS * GROUPS
        self.step = model.weights.step

    def gradient(self, scheme: Scheme, number: int) -> Tensor:
        """Gradient of one minibatch, flat, float64; images and noise follow from its number."""
        seed_step(self.config.seed, 2**30, number)
        chosen = torch.randint(0, len(self.images), (self.batch,)).tolist()
        x0 = to_model(self.images.images(chosen), self.config.data).to(self.device)
        noise = self.process.noise(x0)
        t, _ = scheme.times.sample(self.batch)
        factor = scheme.factor(t).float().to(self.device)
        loss = LOSSES[self.config.loss.name](
            self.denoiser, x0, t.to(self.device), noise, **self.config.loss.options
        )
        found = torch.autograd.grad((factor * loss).mean(), [*self.network.parameters()])
        return torch.cat([part.flatten() for part in found]).double()

    def measure(self, scheme: Scheme) -> tuple[Measured, Tensor]:
        """The variance of a scheme, and its mean gradient."""
        size, means, variances = self.draws // GROUPS, [], []
        for group in range(GROUPS):
            total, squares = 0.0, 0.0
            for number in range(group * size, (group + 1) * size):
                drawn = self.gradient(scheme, number)
                total, squares = total + drawn, squares + float(drawn @ drawn)
            mean = total / size
            means.append(mean)
            variances.append((squares - size * float(mean @ mean)) / (size - 1))
        variance, mean = torch.tensor(variances).double(), torch.stack(means).mean(0)
        signal = float(mean @ mean) - float(variance.mean()) / self.draws
        trace, error = float(variance.mean()), float(variance.std()) / GROUPS**0.5
        found = Measured(scheme.name, trace * self.batch, error * self.batch, signal)
        return found, mean


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", help="folder of a run, such as exp/logs/digits")
    parser.add_argument("--step", type=int, help="of the checkpoint; the newest")
    parser.add_argument("--draws", type=int, default=400, help="minibatches of each scheme")
    parser.add_argument("--batch", type=int, default=16, help="images of a minibatch")
    parser.add_argument("--gamma", type=float, nargs="+", default=[0.5, 1.0])
    parser.add_argument("--k", type=float, default=1.0)
    parser.add_argument("--datasets", default="exp/datasets")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", default="gradient_variance.json")
    args = parser.parse_args()
    if args.draws < 2 * GROUPS:
        parser.error(f"--draws {args.draws}: should be at least {2 * GROUPS}")
    study, results = Study(args), []
    print(f"{args.run}, step {study.step}, {study.draws} draws of {args.batch} images")
    for gamma in args.gamma:
        both = [study.measure(one) for one in schemes(study.config, study.process, gamma, args.k)]
        (weighted, first), (drawn, second) = both
        signal = (weighted.squared_mean + drawn.squared_mean) / 2  # equal in expectation
        cosine = float(torch.nn.functional.cosine_similarity(first, second, dim=0))
        ratio = drawn.trace / weighted.trace
        error = ratio * sum((one.error / one.trace) ** 2 for one, _ in both) ** 0.5
        for one, _ in both:
            print(f"{one.name:>22}  {one.trace / signal:10.2f} +- {one.error / signal:.2f}")
        print(f"{'ratio':>22}  {ratio:10.3f} +- {error:.3f}   cosine of the means {cosine:.4f}")
        found = {"gamma": gamma, "k": args.k, "squared_mean": signal, "cosine": cosine}
        found |= {"ratio": ratio, "ratio_error": error}
        results.append({**found, "schemes": [asdict(one) for one, _ in both]})
    record = {"run": args.run, "step": study.step, "draws": study.draws, "batch": args.batch}
    Path(args.out).write_text(json.dumps({**record, "results": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
