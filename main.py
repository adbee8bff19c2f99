"""Flags -> Config -> Diffusion(config, options) -> one verb. The exit code tells the truth.

0 done; 1 failed; 2 usage; 75 stopped by SIGTERM or SIGUSR1 after saving; 130 Ctrl-C.
"""

from __future__ import annotations

import logging
import os
import sys
import traceback
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from configs.command import parse
from configs.schema.problems import ConfigError

if TYPE_CHECKING:
    from configs.command.options import Options
    from configs.schema import Config
    from runners.sampling.walk import Walk

FAILED, USAGE, INTERRUPTED = 1, 2, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; every failure is one line on stderr."""
    debug = False
    try:
        command = parse.parse(sys.argv[1:] if argv is None else argv)
        debug = command.options.verbose == "debug"
        _run(command)
    except (parse.UsageError, ConfigError) as err:
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


def _run(command: parse.Command) -> None:
    _start_log(command.options.verbose)
    from configs.command import locate

    if command.verb == "list_samplers":
        from runners.look import list_parts

        return _print(list_parts.list_samplers())
    if command.verb == "report":
        from runners.report import report

        if _rank() == 0:
            report(command.options, command.config, command.overrides)
        return None
    config = locate.config_of(command)
    if command.verb == "print_plan":
        from runners.look import print_plan

        return _print(print_plan.print_plan(config, _walk_of(config, command.options)))
    if command.verb == "describe":
        from runners.look import dry_run

        return dry_run.describe(config, command.options)
    if command.verb == "check_data":
        from runners.look import check_data

        return check_data.check_data(config, command.options)
    from runners.diffusion import Diffusion

    with Diffusion(config, command.options) as diffusion:
        getattr(diffusion, command.verb)()
    return None


def _walk_of(config: Config, options: Options) -> Walk | None:
    """The walk of plain samples or of the picture that is asked for."""
    from runners.picture import mode_of
    from runners.sampling.walk import walk_for

    process = config.process()
    walk = walk_for(config, process)
    if options.picture is None:
        return walk
    mode = mode_of(options)
    mode.identity(config)  # refuses what cannot be pictured
    return mode.walked(config, process, walk)


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
    text = " ".join(str(err).split())
    if isinstance(err, ValueError | RuntimeError | OSError) and text:
        return text
    return f"{type(err).__name__}: {text}" if text else type(err).__name__


def _out_of_memory(err: BaseException) -> bool:
    torch = sys.modules.get("torch")
    if isinstance(err, MemoryError) or (torch and isinstance(err, torch.OutOfMemoryError)):
        return True
    return isinstance(err, RuntimeError) and "DefaultCPUAllocator" in str(err)


if __name__ == "__main__":
    sys.exit(main())
