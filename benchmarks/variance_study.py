"""Fixed and learned variances side by side on handwritten digits: likelihood, distance by steps.

    python benchmarks/variance_study.py --exp exp_efficient

Trains digits_adm.yml, measures bits per dimension and the distance of ancestral samples for the
large, the small and the learned variance of the same network. Every stage is a command of main.py,
printed; what is finished is not done again. Leaves EXP/variances.json and EXP/sweeps/variances.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # the project is run, not installed

from benchmarks.commands import run  # noqa: E402

VARIANCES = ("large", "small", "learned")
STEPS = (5, 10, 25, 50, 100)
IMAGES = 96_000
DOC = "adm"


def likelihoods(exp: Path, rest: list[str]) -> dict[str, dict[str, float]]:
    """Bits per dimension by variance and number of steps."""
    path = exp / "variances.json"
    found = json.loads(path.read_text()) if path.exists() else {}
    for variance in VARIANCES:
        own = found.setdefault(variance, {})
        for steps in STEPS:
            if str(steps) in own:
                continue
            words = ["--doc", DOC, "--test", "--sample_type", f"ddpm:{variance}"]
            run([*words, "--skip_type", f"respaced:{steps}", *rest])
            (record,) = (exp / "logs" / DOC).glob("test-*.json")
            bits = json.loads(record.read_text())["likelihood"]
            own[str(steps)] = {key: bits[key] for key in ("bits", "standard_error", "images")}
            path.write_text(json.dumps(found, indent=1) + "\n")
            record.unlink()
    return found


def main() -> None:
    """Train, measure, print a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--exp", type=Path, default=Path("exp_efficient"))
    args, flags = parser.parse_known_args()
    rest, logs = ["--exp", str(args.exp), "--ni", *flags], args.exp / "logs" / DOC
    if not (logs / f"ckpt_{IMAGES // 128}.pth").exists():
        words = ["--config", "digits_adm.yml", "--doc", DOC, "--training.n_images", str(IMAGES)]
        words += ["--resume_training"] if any(logs.glob("ckpt_*.pth")) else []
        run([*words, "--training.sample_freq", "0", *rest])
    found = likelihoods(args.exp, rest)
    for variance in VARIANCES:
        row = (f"{found[variance][str(s)]['bits']:.3f}" for s in STEPS)
        print(f"{variance:>8}  {'  '.join(row)}   bits per dimension at {STEPS} steps")
    words = ["--sweep", "--doc", DOC, "--name", "variances", "--seeds", "0,1"]
    words += ["--samplers", ",".join(f"ddpm:{variance}" for variance in VARIANCES)]
    run([*words, "--timesteps", ",".join(map(str, STEPS)), "--n_samples", "1000", *rest])


if __name__ == "__main__":
    main()
