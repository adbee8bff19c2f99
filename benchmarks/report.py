"""Results as a table to read, as JSON and as Markdown, with what they were made with."""

from __future__ import annotations

import datetime
import json
import platform
import re
import shlex
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parent.parent


def context(device: torch.device, commit: str | None = None) -> dict:
    """Machine, versions, commit and command of this run."""
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": machine(device),
        "device": device.type,
        "threads": torch.get_num_threads(),
        "commit": commit or _commit(),
        "command": shlex.join(["python", "benchmarks/bench.py", *sys.argv[1:]]),
        "versions": _versions(),
    }


def machine(device: torch.device) -> str:
    """The name of the GPU, or the processor and how many logical cores are visible."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{_processor()}, {torch.multiprocessing.cpu_count()} cores"


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    named = re.search(r"model name\s*:\s*(.+)", info.read_text()) if info.exists() else None
    return named[1].strip() if named else platform.processor() or platform.machine()


def _commit() -> str:
    def git(*words: str) -> str:
        done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True)
        return done.stdout.strip() if done.returncode == 0 else ""

    try:
        head, changed = git("rev-parse", "HEAD"), git("status", "--porcelain", "-uno")
    except FileNotFoundError:  # no git on this machine
        return "unknown"
    return f"{head}{' with local changes' if changed else ''}" if head else "unknown"


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version(), "torch": torch.__version__}
    if torch.version.cuda:
        found["cuda"] = torch.version.cuda
    for package in ("numpy", "diffusers"):
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found


def text(result: dict) -> str:
    """The whole result as Markdown, columns aligned so that it reads well as it is."""
    about = result["context"]
    lines = [f"# Benchmark: {about['machine']}, {about['date']}", ""]
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    lines += [f"    {about['command']}", "", f"Commit {about['commit']}; {versions};"]
    lines += [f"{about['threads']} threads; {result['seconds']:.0f} s in all."]
    for section in result["sections"]:
        lines += ["", f"## {section['title']}", "", *_table(section["rows"])]
        lines += [""] * bool(section["notes"]) + [f"- {note}" for note in section["notes"]]
    if result["targets"]:
        lines += ["", "## Targets", "", *(f"- {line}" for line in result["targets"])]
    return "\n".join(lines) + "\n"


COLUMNS = {
    "what": ("", lambda v: v),
    "seconds": ("median", lambda v: f"{v:.3f} s" if v >= 0.1 else f"{1e3 * v:.3f} ms"),
    "images_per_s": ("images/s", lambda v: f"{v:,.0f}"),
    "tflops": ("TFLOP/s", lambda v: f"{v:.1f}"),
    "of_peak": ("of bf16 peak", lambda v: f"{v:.1%}"),
    "memory_gib": ("GiB", lambda v: f"{v:.1f}"),
    "ratio": ("ratio", lambda v: f"{v['median']:.3f} ({v['min']:.3f} .. {v['max']:.3f})"),
    "against": ("to", lambda v: v),
}


def _table(rows: list[dict]) -> list[str]:
    used = [key for key in COLUMNS if any(key in row for row in rows)]
    cells = [[COLUMNS[key][0] for key in used]]
    cells += [[COLUMNS[key][1](row[key]) if key in row else "" for key in used] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "| " + " | ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) + " |"
        for line in cells
    ]
    rule = "|" + "|".join("-" * (w + 2) for w in widths) + "|"
    return [lines[0], rule, *lines[1:]]


def write(result: dict, folder: Path) -> list[Path]:
    """Both files under `folder`, named after machine and date."""
    about = result["context"]
    slug = re.sub(r"[^a-z0-9]+", "-", about["machine"].lower()).strip("-")
    folder.mkdir(parents=True, exist_ok=True)
    as_json, as_text = (folder / f"{slug}-{about['date']}.{end}" for end in ("json", "md"))
    as_json.write_text(json.dumps(result, indent=1) + "\n")
    as_text.write_text(text(result))
    return [as_json, as_text]
