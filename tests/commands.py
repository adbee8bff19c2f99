"""How tests run the program: in this process, in another one, or in many."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

TINY = [
    *("--config", "digits.yml", "--ni", "--device", "cpu"),
    *("--model.ch", "32", "--model.ch_mult", "[1]", "--model.num_res_blocks", "1"),
    *("--model.attn_resolutions", "[]", "--model.dropout", "0.1", "--model.ema_rate", "0.9"),
    *("--training.batch_size", "12", "--training.sample_freq", "0", "--training.keep_last", "9"),
    *("--training.snapshot_freq", "1000", "--training.validation_freq", "1000"),
    *("--training.log_freq", "1", "--sampling.batch_size", "8", "--optim.warmup", "3"),
]


def command(*words: str, processes: int = 1) -> list[str]:
    """What a shell would start."""
    if processes == 1:
        return [sys.executable, str(ROOT / "main.py"), *words]
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    return [
        *(sys.executable, "-m", "torch.distributed.run", f"--nproc_per_node={processes}"),
        *(f"--master_port={port}", str(ROOT / "main.py"), *words),
    ]


def start(*words: str, processes: int = 1, cwd: Path | None = None) -> subprocess.Popen:
    """Start it and do not wait."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command(*words, processes=processes),
        env=environment,
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def run(*words: str, processes: int = 1, cwd: Path | None = None) -> tuple[int, str]:
    """Exit code and output of a finished command."""
    process = start(*words, processes=processes, cwd=cwd)
    output, _ = process.communicate(timeout=240)
    return process.returncode, output


def wait_for(path: Path, process: subprocess.Popen, lines: int = 1, seconds: float = 120) -> None:
    """Until the file has so many lines; fails when the process ends first."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if path.exists() and path.read_bytes().count(b"\n") >= lines:
            return
        if process.poll() is not None:
            raise AssertionError(f"ended with {process.returncode}: {process.communicate()[0]}")
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    raise AssertionError(f"{path} did not appear in {seconds} s: {process.communicate()[0]}")
