"""Measure the order of convergence of every sampler on every process, for docs/samplers.md.

    python benchmarks/orders.py                    # a few minutes on one core
    python benchmarks/orders.py --samplers deis,unipc --processes flow,edm

On data of a mixture of Gaussians, whose noise is known exactly, and whose probability flow too
(tests/orders.py). The same numbers are asserted in tests/functions/test_orders.py.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # the project is run, not installed

from tests.orders import ORDERS, WALKS, defined, order  # noqa: E402


def spec(sampler: str, options: dict[str, Any]) -> str:
    """A sampler as a command names it, `deis:order=2:variable=rho`."""
    words = (f"{key}={str(value).lower()}" for key, value in options.items())
    return ":".join([sampler, *words])


def cell(name: str, sampler: str, options: dict[str, Any]) -> str:
    """Observed order, or a dash where the sampler is not defined."""
    return f"{order(name, sampler, options)[0]:.1f}" if defined(name, sampler, options) else "-"


def table(samplers: list[str], processes: list[str]) -> None:
    """Print the table in Markdown, a row at a time."""
    print("| sampler | " + " | ".join(["order", *processes]) + " |")
    print("|---" * (len(processes) + 2) + "|")
    for sampler, options, want in ORDERS:
        if sampler in samplers:
            cells = [cell(name, sampler, options) for name in processes]
            row = [f"`{spec(sampler, options)}`", str(want), *cells]
            print("| " + " | ".join(row) + " |", flush=True)


def listed(known: list[str]) -> Any:
    """Reader of a flag: some of these names, separated by commas."""

    def read(text: str) -> list[str]:
        names = text.split(",")
        if wrong := [name for name in names if name not in known]:
            raise argparse.ArgumentTypeError(f"{wrong[0]}; it should be {', '.join(known)}")
        return names

    return read


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = list(dict.fromkeys(sampler for sampler, _, _ in ORDERS))
    parser.add_argument("--samplers", type=listed(names), default=names)
    parser.add_argument("--processes", type=listed(list(WALKS)), default=list(WALKS))
    table(**vars(parser.parse_args()))
