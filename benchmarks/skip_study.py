"""Does L_skip do anything that its closed form does not? Trainings, sweeps and two tables.

    python benchmarks/skip_study.py --config digits.yml --features classifier

Trains `simple` and `skip` (fresh and shared noise, equal reduction) once per seed, samples all of
them and, with the closed form as a factor on the predicted noise, the `simple` ones. What is
finished is not done again. Further flags go to every command: --data.path FILE, --device cuda.
Leaves EXP/NAME: the configs, table.md, results.json.
"""

from __future__ import annotations

import argparse
import json
import math
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from scipy.stats import t as student

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # the project is run, not installed

from configs.command.options import Options  # noqa: E402
from configs.schema import dump, load  # noqa: E402
from datasets import get_dataset  # noqa: E402
from datasets.transforms import to_model  # noqa: E402
from functions.loss import skip_scale  # noqa: E402
from main import main  # noqa: E402
from models import checkpoint  # noqa: E402
from runners.model.load import open_model, weights_for  # noqa: E402
from runners.record import cells  # noqa: E402

SHARES = (0.1, 0.3, 0.5, 0.7, 0.9, 1.0)  # of the last time: where the trained factor is measured
DRAWS = 8  # of noise per image there
MOST_IMAGES = 5000


@dataclass(frozen=True)
class Variant:
    """What is trained or, by its scale, only sampled: L_skip of distance k; 0: the plain loss."""

    k: int = 0
    noise: str = "fresh"

    @property
    def name(self) -> str:
        return f"skip_{self.k}_{self.noise}" if self.k else "simple"

    @property
    def loss(self) -> dict[str, Any]:
        """The config's loss section; the mean over pixels for all of them."""
        if not self.k:
            return {"name": "simple", "reduction": "mean"}
        skip = {"skip": self.k, "tau": 0.99, "skip_noise": self.noise}
        return {"name": "skip", "reduction": "mean", **skip}

    @property
    def scale(self) -> str:
        """The closed form, for --eps_scale."""
        return f"skip:{self.k}:0.99:{self.noise}"


def run(words: list[str]) -> None:
    """One command, as a user would type it; its failure ends the study with its exit code."""
    print(f"\n$ python main.py {shlex.join(words)}", flush=True)
    code = main(words)
    if code:
        sys.exit(code)


class Study:
    """One config, its variants and seeds. flags: what every command gets as well."""

    def __init__(self, args: argparse.Namespace, flags: list[str]) -> None:
        self.args, self.flags, self.exp = args, flags, Path(args.exp)
        self.seeds = _numbers(args.seeds)
        self.variants = [Variant(k, n) for k in _numbers(args.skips) for n in ("fresh", "shared")]
        self.home = self.exp / args.name
        self.base = load(args.config)

    def config(self, variant: Variant) -> Path:
        """The base config with the variant's loss and nothing else changed."""
        values = yaml.safe_load(dump(self.base))
        path = self.home / f"{variant.name}.yml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump({**values, "loss": variant.loss}, sort_keys=False))
        return path

    def docs(self, variant: Variant) -> list[str]:
        return [f"{variant.name}_{seed}" for seed in self.seeds]

    def train(self, variant: Variant) -> None:
        path = self.config(variant)
        for seed, doc in zip(self.seeds, self.docs(variant), strict=True):
            words = ["--config", str(path), "--exp", str(self.exp), "--doc", doc]
            words += ["--seed", str(seed), "--ni", *self.flags]
            logs = self.exp / "logs" / doc
            if not logs.exists():
                run(words)
            elif max(checkpoint.steps(logs), default=0) < self._iterations(logs):
                run([*words, "--resume_training"])

    def _iterations(self, logs: Path) -> int:
        return load(logs / "config.yml").training.n_iters

    def sweep(self, name: str, docs: list[str], scale: str) -> dict[tuple[str, int], list[float]]:
        """Distances by run and steps, one per seed of the sampling noise."""
        sampling = [f"--{key}={getattr(self.args, key)}" for key in ("timesteps", "n_samples")]
        run(
            ["--config", str(self.config(Variant())), "--exp", str(self.exp), "--sweep", "--ni"]
            + ["--docs", ",".join(docs), "--samplers", self.args.samplers, "--name", name]
            + [*sampling, "--seeds", self.args.noise_seeds, "--eps_scale", scale, *self.flags]
        )
        found = cells.load(self.exp / "sweeps" / name)
        label, by = found.meta["metrics"]["distance"], dict[tuple[str, int], list[float]]()
        for cell in found.cells:
            by.setdefault((cell.doc, int(cell.steps or 0)), []).append(cell.figures[label])
        self.label, self.yardstick = label, found.meta["dataset"]["real_halves_distance"]
        return by

    @torch.no_grad()
    def slopes(self, doc: str) -> list[float]:
        """E[eps f]/E[f^2] of the network f at every share of the last time, on the training images:
        1 where f is the expected noise itself, 1/k where it is k times that.
        """
        config = load(self.exp / "logs" / doc / "config.yml")
        options = Options(exp=self.exp, doc=doc)
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        model = open_model(config, weights_for(config, options), device)
        denoiser, process = model.denoiser(), model.process
        dataset, _ = get_dataset(config, options.datasets)
        generator, found = torch.Generator().manual_seed(0), []
        for time in times_of(process):
            both, own = 0.0, 0.0
            for begin in range(0, min(len(dataset), MOST_IMAGES), 256):
                part = range(begin, min(begin + 256, len(dataset), MOST_IMAGES))
                x0 = to_model(dataset.images(part), config.data).to(device)
                t = torch.full((len(x0),), time, device=device)
                for _ in range(DRAWS):
                    noise = torch.randn(x0.shape, generator=generator).to(device)
                    f = denoiser.raw_eps(process.perturb(x0, t, noise), t)
                    both += float((noise * f).double().sum())
                    own += float((f * f).double().sum())
            found.append(both / own)
        return found


def times_of(process: Any) -> list[float]:
    return [round(share * process.t_train[1]) if process.steps else share for share in SHARES]


def interval(values: list[float]) -> tuple[float, float]:
    """Mean and half the width of its 95 percent interval (Student's t; NaN for one value)."""
    n = len(values)
    if n < 2:
        return float(np.mean(values)), math.nan
    half = student.ppf(0.975, n - 1) * np.std(values, ddof=1) / n**0.5
    return float(np.mean(values)), float(half)


def shown(values: list[float], digits: int) -> str:
    mean, half = interval(values)
    return f"{mean:+.{digits}f} ± {half:.{digits}f}"


def factors(study: Study) -> tuple[list[str], dict[str, Any]]:
    """Markdown and numbers: the factor each loss trained in, against the closed form."""
    process = study.base.process()
    times = torch.tensor(times_of(process), dtype=torch.float64)
    plain = {doc: study.slopes(doc) for doc in study.docs(Variant())}
    lines = ["| t | " + " | ".join(f"{t:g}" for t in times.tolist()) + " |"]
    lines += ["|---" * (len(times) + 1) + "|"]
    record: dict[str, Any] = {"simple": plain}
    for variant in study.variants:
        k = skip_scale(process, times, variant.k, 0.99, variant.noise)  # type: ignore[arg-type]
        found = {doc: study.slopes(doc) for doc in study.docs(variant)}
        record[variant.name] = found
        lines.append(f"| {variant.name}: closed form | " + _row([f"{v:.5f}" for v in k.tolist()]))
        pairs = list(zip(plain.values(), found.values(), strict=True))
        trained = [[a[i] / b[i] for a, b in pairs] for i in range(len(times))]
        cells_ = [shown(values, 5).lstrip("+") for values in trained]
        lines.append(f"| {variant.name}: trained | " + _row(cells_))
    return lines, record


def gains(study: Study) -> tuple[list[str], dict[str, Any]]:
    """Markdown and numbers: gain in distance over the plain loss, trained in and by scaling."""
    steps = _numbers(study.args.timesteps)
    every = [Variant(), *study.variants]
    drawn = study.sweep(study.args.name, [doc for v in every for doc in study.docs(v)], "none")
    base = study.docs(Variant())
    lines = ["| gain over simple, percent | " + " | ".join(f"{s} steps" for s in steps) + " |"]
    lines += ["|---" * (len(steps) + 1) + "|"]
    record: dict[str, Any] = {"none": _plain(drawn)}
    for variant in study.variants:
        scaled = study.sweep(f"{study.args.name}_{variant.name}", base, variant.scale)
        record[variant.scale] = _plain(scaled)
        own = [_gain(drawn, base, drawn, study.docs(variant), s) for s in steps]
        form = [_gain(drawn, base, scaled, base, s) for s in steps]
        apart = [[a - b for a, b in zip(x, y, strict=True)] for x, y in zip(own, form, strict=True)]
        for what, rows in (("trained", own), ("closed form", form), ("difference", apart)):
            lines.append(f"| {variant.name}: {what} | " + _row([shown(r, 2) for r in rows]))
    simple = [interval([np.mean(drawn[doc, s]) for doc in base]) for s in steps]
    lines.append("| simple: distance | " + _row([f"{m:.2f} ± {h:.2f}" for m, h in simple]))
    return lines, record


def _gain(before: dict, docs: list[str], after: dict, others: list[str], steps: int) -> list[float]:
    """Percent by which the distance fell, by training seed; mean over the seeds of the noise."""
    return [
        100 * (1 - float(np.mean(after[b, steps])) / float(np.mean(before[a, steps])))
        for a, b in zip(docs, others, strict=True)
    ]


def _row(values: list[str]) -> str:
    return " | ".join(values) + " |"


def _plain(drawn: dict[tuple[str, int], list[float]]) -> dict[str, list[float]]:
    return {f"{doc}, {steps} steps": values for (doc, steps), values in drawn.items()}


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--config", default="digits.yml")
    parser.add_argument("--exp", default="exp")
    parser.add_argument(
        "--name", default="study", help="of the sweeps, and of the folder below exp"
    )
    parser.add_argument("--seeds", default="0,1,2", help="of the trainings")
    parser.add_argument("--skips", default="9,49", help="distances k")
    parser.add_argument("--samplers", default="generalized", help="one, as --samplers has it")
    parser.add_argument("--timesteps", default="10,20")
    parser.add_argument("--noise_seeds", default="0", help="of the sampling")
    parser.add_argument("--n_samples", default="1617")
    args, flags = parser.parse_known_args()
    study = Study(args, flags)
    for variant in [Variant(), *study.variants]:
        study.train(variant)
    trained, factor_record = factors(study)
    drawn, gain_record = gains(study)
    text = "\n".join(
        [
            *trained,
            "",
            *drawn,
            "",
            f"{study.label}; halves of the real images: {study.yardstick:.3f}",
        ]
    )
    (study.home / "table.md").write_text(text + "\n", encoding="utf-8")
    result = {"command": shlex.join(sys.argv), "slopes": factor_record, "distances": gain_record}
    (study.home / "results.json").write_text(json.dumps(result, indent=1) + "\n")
    print(f"\n{text}\n\nwritten: {study.home / 'table.md'}, {study.home / 'results.json'}")
