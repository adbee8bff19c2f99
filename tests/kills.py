"""Kill a training that saves all the time, again and again, and see that nothing is ever lost.

usage: python -m tests.kills [KILLS]       (50 by default: about five minutes on two cores)

Every start must find a valid checkpoint, no older than one saving interval before the last step
that the killed process had reported. Exits non-zero, with the reason, as soon as one does not.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

from models import checkpoint
from tests.commands import TINY, start, wait_for

INTERVAL = 2


def last_step(lines: Path) -> int:
    """The last step whose whole line is on disk."""
    whole = [line for line in lines.read_text().splitlines(keepends=True) if line.endswith("\n")]
    return json.loads(whole[-1])["step"] if whole else 0


def kills(exp: Path, count: int, seed: int) -> list[int]:
    """Kill `count` times; returns how many reported steps each kill cost."""
    draw = random.Random(seed)
    run = exp / "logs/digits"
    words = [
        *(*TINY, "--exp", str(exp), "--doc", "digits", "--training.n_iters", "1000000"),
        *("--training.snapshot_freq", str(INTERVAL), "--training.keep_last", "2"),
    ]
    lost = []
    for number in range(count):
        resume = ["--resume_training"] if number else []
        lines = run / "metrics.jsonl"
        before = lines.read_text().count("\n") if lines.exists() else 0
        process = start(*words, *resume)
        wait_for(lines, process, lines=before + INTERVAL + 1)
        time.sleep(draw.uniform(0, 0.4))
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        warnings: list[str] = []
        found = checkpoint.latest(run, warnings.append)
        if found is None:
            raise SystemExit(f"kill {number + 1}: no checkpoint at all")
        loss = last_step(lines) - found[1]["step"]
        if loss > INTERVAL or warnings:
            raise SystemExit(f"kill {number + 1}: lost {loss} steps; {warnings}")
        lost.append(loss)
    return lost


if __name__ == "__main__":
    wanted = int(sys.argv[1]) if len(sys.argv) > 1 else 50
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        costs = kills(Path(folder), wanted, seed=0)
        left = [p.name for p in (Path(folder) / "logs/digits").iterdir()]
    print(
        f"{wanted} kills in {time.monotonic() - began:.0f} s: lost at most {max(costs)} steps, ",
        end="",
    )
    print(f"saving every {INTERVAL}; files at the end: {', '.join(sorted(left))}")
