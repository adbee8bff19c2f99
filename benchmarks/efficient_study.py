"""Do weights and densities of times train faster, on handwritten digits? Trainings and a curve.

    python benchmarks/efficient_study.py --exp exp_efficient

Every stage is a command of main.py that a reader can type; it is printed. What is finished is not
done again. Leaves EXP/sweeps/schemes (the page of the curve). Further flags go to every command.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # the project is run, not installed

from benchmarks.commands import run  # noqa: E402

SCHEMES = {  # name: (density of times, loss weight)
    "uniform": ("uniform", "none"),
    "p2": ("uniform", "p2:1:0.5"),
    "under": ("under:0.5:1", "none"),
    "min_snr": ("uniform", "min_snr:5"),
    "second_moment": ("loss_second_moment", "none"),
}
SEEDS = "0,1,2"
IMAGES, SNAPSHOT = 96_000, 125


def trainings(exp: Path, seeds: list[str]) -> Iterator[list[str]]:
    """The commands that train what is not trained yet, seed by seed."""
    for seed in seeds:
        for name, (times, weight) in SCHEMES.items():
            words = ["--config", "digits_p2.yml", "--doc", f"{name}-{seed}", "--seed", seed]
            words += ["--training.times", times, "--training.weight", weight]
            words += ["--training.n_images", str(IMAGES), "--training.sample_freq", "0"]
            words += ["--training.milestone_freq", str(SNAPSHOT)]
            run = exp / "logs" / f"{name}-{seed}"
            if (run / f"ckpt_{-(-IMAGES // 128)}.pth").exists():
                continue
            yield [*words, "--resume_training"] if any(run.glob("ckpt_*.pth")) else words


def curve(seeds: list[str]) -> list[str]:
    """The command that measures every snapshot."""
    docs = ",".join(f"{name}-{seed}" for name in SCHEMES for seed in seeds)
    words = ["--curve", "--docs", docs, "--name", "schemes", "--sample_type", "generalized"]
    return [*words, "--timesteps", "20", "--n_samples", "1000"]


def main() -> None:
    """Train, then measure; the first failure ends the study with its exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--exp", type=Path, default=Path("exp_efficient"))
    parser.add_argument("--seeds", default=SEEDS, help="of the trainings")
    parser.add_argument("--no_curve", action="store_true", help="only train, as one job of several")
    args, flags = parser.parse_known_args()
    rest, seeds = ["--exp", str(args.exp), "--ni", *flags], args.seeds.split(",")
    for words in (*trainings(args.exp, seeds), *([] if args.no_curve else [curve(seeds)])):
        run([*words, *rest])


if __name__ == "__main__":
    main()
