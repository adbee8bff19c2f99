"""What guidance buys and costs on handwritten digits: class agreement, precision, recall, distance.

    python benchmarks/guidance_study.py --exp exp_efficient

Trains digits_class.yml and samples it with guidance 0 to 4: everywhere, in an interval of noise
levels, and by a weaker snapshot of the same run (autoguidance). Every stage is a command of
main.py, printed; what is finished is not done again. Leaves EXP/guidance.json and .png.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # the project is run, not installed

from benchmarks.commands import run  # noqa: E402

SCALES = ("0", "1", "1.5", "2", "3", "4")
WAYS = {"everywhere": "", "interval": ":0.2-5", "autoguidance": ""}
IMAGES, WEAKER = 96_000, 125
DOC = "class"
SHOWN = ("class agreement", "recall", "precision", "FD")


def measured(exp: Path, way: str, scale: str, rest: list[str]) -> dict:
    """The evaluation of one way of guidance at one scale, drawn where it is missing. At scale 1
    there is no guidance, whatever the way.
    """
    way = "everywhere" if scale == "1" else way
    folder = f"guidance/{way}-{scale}"
    record = exp / "image_samples" / folder / "eval.json"
    if not record.exists():
        words = ["--doc", DOC, "--sample", "--fid", "--no_images", "-i", folder]
        words += ["--guidance", scale + WAYS[way], "--timesteps", "20", "--n_samples", "1000"]
        words += ["--guide", f"{DOC}:{WEAKER}"] if way == "autoguidance" else []
        run([*words, *rest])
    return json.loads(record.read_text())


def draw(found: dict[str, dict[str, dict[str, float]]], path: Path) -> None:
    """One panel for each figure, one line for each way."""
    from matplotlib.figure import Figure

    names = list(next(iter(next(iter(found.values())).values())))
    figure = Figure(figsize=(4.2 * len(names), 3.4), layout="constrained")
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        for way, rows in found.items():
            axes.plot(
                [float(s) for s in rows], [row[name] for row in rows.values()], "o-", label=way
            )
        axes.set_xlabel("guidance (1: none, 0: no class)")
        axes.set_title(name, fontsize=11)
        axes.set_yscale("log" if name.startswith("FD") else "linear")
        axes.grid(alpha=0.3)
    figure.axes[0].legend()
    figure.savefig(path)


def main() -> None:
    """Train, sample and measure, draw."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--exp", type=Path, default=Path("exp_efficient"))
    args, flags = parser.parse_known_args()
    rest, logs = ["--exp", str(args.exp), "--ni", *flags], args.exp / "logs" / DOC
    if not (logs / f"ckpt_{IMAGES // 128}.pth").exists():
        words = ["--config", "digits_class.yml", "--doc", DOC, "--training.n_images", str(IMAGES)]
        words += ["--training.snapshot_freq", str(WEAKER), "--training.milestone_freq", str(WEAKER)]
        words += ["--resume_training"] if any(logs.glob("ckpt_*.pth")) else []
        run([*words, "--training.sample_freq", "0", *rest])
    found: dict[str, dict[str, dict[str, float]]] = {}
    for way in WAYS:
        for scale in SCALES:
            figures = measured(args.exp, way, scale, rest)["figures"]
            kept = {key: v for key, v in figures.items() if key.split("[")[0] in SHOWN}
            found.setdefault(way, {})[scale] = kept
            (args.exp / "guidance.json").write_text(json.dumps(found, indent=1) + "\n")
    draw(found, args.exp / "guidance.png")


if __name__ == "__main__":
    main()
