"""SIGTERM and SIGUSR1 as requests to save and leave: schedulers send them before they kill."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

log = logging.getLogger("skip_step")

STOPPED = 75  # exit code: saved on request, run the same command with --resume_training to go on


class StopRequest:
    """Flag that is true once one of the signals has arrived."""

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
    with _handled_by(request):
        yield request


@contextmanager
def leaving_on_request(after: str) -> Iterator[None]:
    """End the block by SystemExit(STOPPED) as soon as one of the signals arrives, after a line that
    ends with `after`. For blocks that save nothing on the way.
    """
    request = StopRequest()

    def leave(number: int, frame: FrameType | None) -> None:
        if not request:  # a second signal must not interrupt the clean-up
            request(number, frame)
            raise SystemExit(STOPPED)

    with _handled_by(leave):
        try:
            yield
        except SystemExit:
            if request:
                log.warning("%s: stopped; %s", request.name, after)
            raise


@contextmanager
def _handled_by(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    names = [getattr(signal, name) for name in ("SIGTERM", "SIGUSR1") if hasattr(signal, name)]
    previous = {number: signal.signal(number, handler) for number in names}
    try:
        yield
    finally:
        for number, earlier in previous.items():
            signal.signal(number, earlier)
