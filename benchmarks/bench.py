"""Paired benchmarks against diffusers: python benchmarks/bench.py [--device cpu|cuda] [--quick]

Measures the network (forward, training step), the sampler outside the network and, on CUDA, rates
against the chip's peak. Prints a table and writes it with JSON under benchmarks/results.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # the project is run, not installed

from benchmarks import clock, gpu, overhead, report  # noqa: E402
from benchmarks.networks import (  # noqa: E402
    CIFAR10,
    NO_PEER,
    SMALL,
    Setting,
    batch,
    disagreement,
    forward_task,
    same_weights,
    training_task,
)

DIFFUSERS = "diffusers"
VARIANTS = [Setting(channels_last=True), Setting("bf16"), Setting("bf16", channels_last=True)]


def network(device: torch.device, quick: bool) -> list[dict]:
    """Forward pass and training step at batch 16, ours and the peer's, and variants of ours."""
    options, size = (SMALL, 2) if quick else (CIFAR10, 16)
    x, t, noise = batch(options, size, device)
    ours, peer = same_weights(options)
    notes = [NO_PEER]
    if peer is not None:
        gap = disagreement(ours.to(device), peer.to(device), x, t)
        notes = [f"equal weights, answers within {gap:.1e} of each other (largest answer 1)"]
    contestants = _contestants(ours, peer, options, device)
    against = {f"ours {s}": ["ours fp32"] for s in VARIANTS}
    for setting in (Setting(), *VARIANTS):
        against.setdefault(f"ours {setting}", []).append(f"{DIFFUSERS} {setting}")
    sections = []
    for what, rounds in (("Forward pass", 7), ("Training step", 5)):
        tasks = {
            name: forward_task(net, setting, x, t)
            if what.startswith("Forward")
            else training_task(net, setting, x, t, noise)
            for name, (net, setting) in contestants.items()
        }
        seconds = clock.interleave(tasks, 2 if quick else rounds, device)
        rows = clock.compared(seconds, against)
        sections.append({"title": f"{what}, batch {size}", "rows": rows, "notes": notes})
    return sections


def _contestants(ours, peer, options: dict, device: torch.device) -> dict:
    """Name -> (network, setting), each pair that is compared side by side. Networks in the same
    memory format share their weights; "ours" without a word is what `build` returns.
    """
    last, peer_last = (
        None if net is None else VARIANTS[0].prepare(net, device) for net in same_weights(options)
    )
    order = {}
    for setting in (Setting(), Setting("fp32", True), Setting("bf16"), Setting("bf16", True)):
        order[f"ours {setting}"] = (last if setting.channels_last else ours, setting)
        peers = peer_last if setting.channels_last else peer
        order[f"{DIFFUSERS} {setting}"] = (peers, setting)
    return {name: pair for name, pair in order.items() if pair[0] is not None}


TARGETS = [
    ("Forward pass", "ours fp32", 1.0),
    ("Training step", "ours fp32", 1.0),
    ("Sampler", "solve,", 0.5),
]


def verdicts(sections: list[dict]) -> list[str]:
    """Each target with the ratio that was measured for it."""
    lines = []
    for title, what, limit in TARGETS:
        rows = [row for s in sections if s["title"].startswith(title) for row in s["rows"]]
        for row in (row for row in rows if _meant(row["what"], what) and "ratio" in row):
            seen = row["ratio"]["median"]
            line = f"{title}, {row['what']} / {row['against']}: {seen:.3f}, at most {limit}: "
            lines.append(line + ("met" if seen <= limit else "MISSED"))
    return lines


def _meant(row: str, what: str) -> bool:
    """A target that ends in a comma is about every row that begins so."""
    return row.startswith(what) if what.endswith(",") else row == what


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--quick", action="store_true", help="a smoke run on a small network")
    parser.add_argument("--only", choices=["sampler", "network"], help="one part of it")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads, 2 as the reference")
    parser.add_argument("--budget", type=float, default=210, help="seconds for the CUDA rates")
    parser.add_argument("--commit", help="the commit's hash, where git cannot say it")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results")
    args = parser.parse_args()
    if args.device == "cuda" and not torch.cuda.is_available():
        sys.exit("bench: no CUDA device is available here; run with --device cpu")

    device, began = torch.device(args.device), time.perf_counter()
    if device.type == "cpu":
        torch.set_num_threads(args.threads)
    sections = []
    if args.only != "network":
        sections.append(overhead.measure(device, 5 if args.quick else 60))
    if args.only != "sampler" and device.type == "cpu":
        sections += network(device, args.quick)
    elif args.only != "sampler":
        sections += gpu.measure(device, args.quick, began + args.budget)
    result = {
        "context": report.context(device, args.commit),
        "seconds": time.perf_counter() - began,
        "sections": sections,
        "targets": verdicts(sections),
    }
    print(report.text(result))
    if args.quick:
        print("a smoke run: nothing is written")
        return
    for path in report.write(result, args.out):
        print(f"written: {path}")


if __name__ == "__main__":
    main()
