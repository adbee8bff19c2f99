"""Picture and table of the study of objectives: distance against network evaluations.

    python benchmarks/objectives_chart.py --exp exp_objectives --out docs/objectives.png

Left: each objective with the sampler that is best at that number of evaluations, the mean of the
trainings, and the range of them. Right: the samplers on flow matching. The table goes to stdout.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path
from statistics import mean

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402  (after the choice of a backend without a window)

NAMES = {
    "eps": "eps on vp, linear",
    "v": "v on vp, cosine",
    "flow": "flow matching",
    "edm": "EDM",
    "dit": "flow matching, DiT",
}
METRIC = "FD[classifier]-500"
Cells = dict[str, dict[float, list[float]]]  # sampler -> evaluations -> distance of each training


def read(sweep: Path) -> Cells:
    """Distances of a sweep's cells, by sampler and evaluations."""
    found: Cells = defaultdict(lambda: defaultdict(list))
    for file in sorted(sweep.glob("cells-*.jsonl")):
        for line in file.read_text(encoding="utf-8").splitlines():
            cell = json.loads(line)
            sampler = cell["cell"].split("|")[1].split("@")[0]
            found[sampler][cell["nfe"]].append(cell["figures"][METRIC])
    return found


def best(cells: Cells) -> dict[float, tuple[str, list[float]]]:
    """The sampler with the lowest mean at each number of evaluations, and its distances."""
    every = sorted({nfe for by_nfe in cells.values() for nfe in by_nfe})
    there = {nfe: [(s, c[nfe]) for s, c in cells.items() if nfe in c] for nfe in every}
    return {nfe: min(found, key=lambda pair: mean(pair[1])) for nfe, found in there.items()}


def draw(axes: plt.Axes, label: str, points: dict[float, list[float]]) -> None:
    """One line of means, with its range over the trainings."""
    nfe = sorted(points)
    middle = [mean(points[n]) for n in nfe]
    reach = [[m - min(points[n]) for m, n in zip(middle, nfe, strict=True)]]
    reach += [[max(points[n]) - m for m, n in zip(middle, nfe, strict=True)]]
    axes.errorbar(nfe, middle, yerr=reach, marker="o", markersize=4, capsize=3, label=label)


def main() -> None:
    """Read the sweeps, draw, print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--exp", type=Path, default=Path("exp_objectives"))
    parser.add_argument("--out", type=Path, default=Path("docs/objectives.png"))
    args = parser.parse_args()
    cells = {name: read(args.exp / "sweeps" / name) for name in NAMES}
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2), sharey=True)
    print("| objective | 5 evaluations | 10 | 20 |\n|---|---|---|---|")
    for name, label in NAMES.items():
        found = best(cells[name])
        asked = {nfe: pair for nfe, pair in found.items() if nfe in (5, 10, 20)}
        draw(left, label, {nfe: values for nfe, (_, values) in asked.items()})
        words = [f"{mean(v):.2f} ({min(v):.2f} to {max(v):.2f}), `{s}`" for s, v in asked.values()]
        print(f"| {label} | {' | '.join(words)} |")
    for sampler, by_nfe in cells["flow"].items():
        draw(right, sampler, by_nfe)
    left.set_title("each objective with its best sampler", fontsize=11)
    right.set_title("samplers on flow matching", fontsize=11)
    for axes in (left, right):
        axes.set(xscale="log", yscale="log", xlabel="network evaluations per image", ylim=(0.9, 90))
        axes.set_xticks([5, 10, 20, 40], ["5", "10", "20", "40"])
        axes.minorticks_off()
        axes.set_yticks([1, 2, 3, 5, 10, 20], ["1", "2", "3", "5", "10", "20"])
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8, loc="upper right", ncols=2)
    left.set_ylabel(METRIC)
    figure.suptitle("Handwritten digits, 192,000 images seen; mean and range of 3 trainings")
    figure.tight_layout()
    figure.savefig(args.out, dpi=90)


if __name__ == "__main__":
    main()
