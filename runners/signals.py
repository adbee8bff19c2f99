"""SIGTERM and SIGUSR1 ask the program to save and go: schedulers send them before they kill."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

STOPPED = 75  # exit code: saved on request, run the same command with --resume_training to go on


class StopRequest:
    """True once one of the signals has arrived."""

    def __init__(self) -> None:
        self.name: str | None = None

    def __bool__(self) -> bool:
        return self.name is not None

    def __call__(self, number: int, _frame: FrameType | None) -> None:
        self.name = signal.Signals(number).name


@contextmanager
def stop_request() -> Iterator[StopRequest]:
    """Catch the signals while the block runs; the previous handlers come back afterwards."""
    request = StopRequest()
    names = [getattr(signal, name) for name in ("SIGTERM", "SIGUSR1") if hasattr(signal, name)]
    previous = {number: signal.signal(number, request) for number in names}
    try:
        yield request
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
