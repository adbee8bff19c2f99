"""Flags -> Config -> Diffusion(config, options) -> one verb. The exit code tells the truth.

0 done; 1 failed; 2 usage; 75 stopped by SIGTERM or SIGUSR1 after saving; 130 Ctrl-C.
"""

from __future__ import annotations

import logging
import os
import sys
import traceback
from collections.abc import Iterable, Sequence
from pathlib import Path

from configs.command import parse
from configs.command.locate import config_of
from configs.command.parse import Command
from configs.command.usage import UnknownFlagError, UsageError
from configs.imports import IMPORTED
from configs.schema.problems import ConfigError

FAILED, USAGE, INTERRUPTED = 1, 2, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; every failure is one line on stderr."""
    debug = False
    try:
        command = _parse(sys.argv[1:] if argv is None else argv)
        debug = command.options.verbose == "debug"
        _run(command)
    except (UsageError, ConfigError) as err:
        if _rank() == 0:
            _say(err, debug)
        return USAGE
    except KeyboardInterrupt:
        if _rank() == 0:
            print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # whoever read the output has enough; nothing can be said there
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except Exception as err:  # noqa: BLE001  (the one place where every failure becomes a line)
        _say(err, debug)
        return FAILED
    return 0


def _parse(argv: Sequence[str]) -> Command:
    """Read the command line. The flags of pictures are known once their room is imported, which
    takes a while and is done only where they are wanted.
    """
    parse.run_imports(argv)
    if "--sample" in argv:
        import runners.picture  # noqa: F401
    try:
        return parse.parse(argv)
    except UnknownFlagError:
        import runners.picture  # noqa: F401, F811

        return parse.parse(argv)


def _run(command: Command) -> None:
    _start_log(command.options.verbose)
    verb, options = command.verb, command.options
    if verb in ("list_samplers", "list_parts"):
        import runners.picture  # noqa: F401
        from runners.look import list_parts

        return _print(getattr(list_parts, verb)())
    if verb == "json_schema":
        from configs.schema.json_schema import json_schema

        return _print([json_schema()])
    if verb == "report":
        from runners.report import report

        if _rank() == 0:
            report(options, command.config, command.overrides)
        return None
    from runners.diffusion import Diffusion

    with Diffusion(config_of(command), options) as diffusion:
        getattr(diffusion, verb)()
    return None


def _print(lines: Iterable[str]) -> None:
    for line in lines:
        if _rank() == 0:
            print(line)


def _start_log(level: str) -> None:
    """Messages of the program go to stderr; only the first process has more than errors to say."""
    log = logging.getLogger("skip_step")
    log.setLevel(level.upper())
    log.propagate = False
    for handler in log.handlers[:]:
        log.removeHandler(handler)
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S"))
    handler.setLevel(logging.NOTSET if _rank() == 0 else logging.ERROR)
    log.addHandler(handler)


def _rank() -> int:
    rank = os.environ.get("RANK", "0")
    return int(rank) if rank.isdigit() else 0


def _say(err: BaseException, debug: bool) -> None:
    if debug:
        traceback.print_exception(err)
    where = f"process {_rank()}: " if _rank() else ""
    print(f"error: {where}{_text(err)}", file=sys.stderr)


def _text(err: BaseException) -> str:
    """What went wrong in one line (a config's mistakes: one line each), never empty."""
    if isinstance(err, ConfigError):
        return str(err)
    if _out_of_memory(err):
        return (
            "out of memory: train in smaller portions with --training.micro_batch N (the result is "
            "the same), sample with a smaller --sampling.batch_size N"
        )
    if isinstance(err, OSError) and err.strerror:
        return f"{err.filename}: {err.strerror}" if err.filename else err.strerror
    text, place = " ".join(str(err).split()), _place(err)
    if isinstance(err, ValueError | RuntimeError | OSError) and text:
        return f"{place}{text}"
    return f"{place}{type(err).__name__}: {text}" if text else f"{place}{type(err).__name__}"


def _place(err: BaseException) -> str:
    """File and line where an imported file failed, as a prefix; empty for other failures."""
    frames = traceback.extract_tb(err.__traceback__)
    own = [frame for frame in frames if Path(frame.filename) in IMPORTED]
    return f"{own[-1].filename}:{own[-1].lineno}: " if own else ""


def _out_of_memory(err: BaseException) -> bool:
    torch = sys.modules.get("torch")
    if isinstance(err, MemoryError) or (torch and isinstance(err, torch.OutOfMemoryError)):
        return True
    return isinstance(err, RuntimeError) and "DefaultCPUAllocator" in str(err)


if __name__ == "__main__":
    sys.exit(main())
