"""--check_data: every image of a data set, read once."""

from __future__ import annotations

from configs.command.options import Options
from configs.schema import Config
from datasets import inspect
from runners.machine.processes import say


def check_data(config: Config, options: Options) -> None:
    """Decode every image and print the counts. Raises OSError where some cannot be read."""
    report = inspect(config, options.datasets)
    say(str(report).splitlines())
    if report.bad:
        raise OSError(f"unreadable images: {len(report.bad)}; their names are above")
