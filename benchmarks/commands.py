"""Commands of main.py that a study types."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def run(words: list[str]) -> None:
    """Print and run one command; its failure ends the study with its exit code."""
    print(f"\n$ python main.py {shlex.join(words)}", flush=True)
    code = subprocess.run([sys.executable, str(ROOT / "main.py"), *words]).returncode
    if code:
        sys.exit(code)
