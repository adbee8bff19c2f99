"""Which objective, on handwritten digits? Trainings of equal images, and sweeps over evaluations.

    python benchmarks/objectives_study.py --exp exp_objectives

Every stage is a command of main.py that a reader can type; it is printed. What is finished is not
done again. Leaves EXP/sweeps/NAME of every objective, and one report of all.
Further flags go to every command.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # the project is run, not installed

from benchmarks.commands import run  # noqa: E402

PLAIN = ["--loss.name", "simple", "--training.times", "uniform"]
OBJECTIVES = {  # name: (config, further flags)
    "eps": ("digits.yml", PLAIN),
    "v": ("digits_v.yml", []),
    "flow": ("digits_flow.yml", []),
    "edm": ("digits_edm.yml", []),
    "dit": ("digits_dit.yml", []),
}
SAMPLERS = "generalized,deis:2,dpm_solver_pp:2,heun"
GRIDS = {"eps": "uniform", "v": "uniform", "flow": "uniform", "edm": "karras", "dit": "uniform"}
STEPS = "5,10,20"
IMAGES = 192_000


def trainings(exp: Path, names: list[str], seeds: list[str]) -> Iterator[list[str]]:
    """The commands that train what is not trained yet, seed by seed."""
    for seed in seeds:
        for name in names:
            config, flags = OBJECTIVES[name]
            words = ["--config", config, "--doc", f"{name}-{seed}", "--seed", seed, *flags]
            words += ["--training.n_images", str(IMAGES), "--training.sample_freq", "0"]
            run = exp / "logs" / f"{name}-{seed}"
            if (run / f"ckpt_{-(-IMAGES // 128)}.pth").exists():
                continue
            yield [*words, "--resume_training"] if any(run.glob("ckpt_*.pth")) else words


def sweeps(names: list[str], seeds: list[str]) -> Iterator[list[str]]:
    """The commands that measure every objective on its own time grid."""
    for name in names:
        docs = ",".join(f"{name}-{seed}" for seed in seeds)
        words = ["--sweep", "--docs", docs, "--name", name, "--samplers", SAMPLERS]
        words += ["--skip_type", GRIDS[name], "--timesteps", STEPS, "--n_samples", "500"]
        yield words
    if len(names) > 1:
        yield ["--report", "--name", ",".join(names)]


def main() -> None:
    """Train, then measure; the first failure ends the study with its exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--exp", type=Path, default=Path("exp_objectives"))
    parser.add_argument("--seeds", default="0,1,2", help="of the trainings")
    parser.add_argument("--objectives", default=",".join(OBJECTIVES), help="which of them")
    parser.add_argument("--no_sweeps", action="store_true", help="only train")
    args, flags = parser.parse_known_args()
    rest, seeds = ["--exp", str(args.exp), "--ni", *flags], args.seeds.split(",")
    names = args.objectives.split(",")
    measured = [] if args.no_sweeps else sweeps(names, seeds)
    for words in (*trainings(args.exp, names, seeds), *measured):
        run([*words, *rest])


if __name__ == "__main__":
    main()
