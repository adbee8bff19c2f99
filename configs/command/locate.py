"""The config of a command: the file it names, the run's own, or a checkpoint's."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from configs.command.parse import Command
from configs.command.usage import UsageError
from configs.schema import Config, ConfigError, from_values, load
from configs.schema.problems import nearest

log = logging.getLogger("skip_step")


def config_of(command: Command) -> Config:
    """The command's config, its overrides and the files it imports included.

    Without --config it is the one in the file that --use_pretrained names, or the run's config.yml,
    or the one in the run's newest checkpoint. Raises UsageError or ConfigError.
    """
    return _found(command).recorded()


def _found(command: Command) -> Config:
    if command.config is not None:
        foreign = _is_foreign(command.options.use_pretrained)
        return load(command.config, command.overrides, consent=True, foreign=foreign)
    options = command.options
    if options.use_pretrained:
        return _of_file(Path(options.use_pretrained), command)
    if options.doc is None:
        raise UsageError("--config is missing: it says which data set and network are meant")
    if not options.run.is_dir():
        _refuse_unknown_run(options.run, command)
    if (options.run / "config.yml").is_file():
        return load(options.run / "config.yml", command.overrides)
    from models import checkpoint

    found = checkpoint.latest(options.run, log.warning)
    if found is None:
        raise UsageError(f"{options.run} holds neither config.yml nor a checkpoint; give --config")
    return _inside(found[1].get("config"), found[0], command)


def _is_foreign(source: str | None) -> bool:
    """Whether --use_pretrained names weights of another program, which come without a config."""
    if source is None:
        return False
    from models import checkpoint

    path = Path(source)
    ours = path.is_file() and checkpoint.is_ours(path)
    return not ours and config_beside(path) is None


def _of_file(path: Path, command: Command) -> Config:
    if beside := config_beside(path):
        return load(beside, command.overrides)
    text = f"--config is missing: {path} does not hold a config of its own"
    if not path.is_file():
        raise UsageError(text)
    from models import checkpoint

    if not checkpoint.is_ours(path):
        raise UsageError(text)
    return _inside(checkpoint.peek(path, "config"), path, command)


def config_beside(path: Path) -> Path | None:
    """The config.yml beside weights that this program exported: a .safetensors file, or a folder
    with model.safetensors; None where there is none.
    """
    file = path / "model.safetensors" if path.is_dir() else path
    config = file.with_name("config.yml")
    there = file.suffix == ".safetensors" and file.is_file() and config.is_file()
    return config if there else None


def _inside(values: dict[str, Any] | None, path: Path, command: Command) -> Config:
    if values is None:
        raise UsageError(f"{path}: not a training checkpoint, it holds no config; give --config")
    return from_values(values, str(path), command.overrides)


def _refuse_unknown_run(run: Path, command: Command) -> None:
    """A new run needs a config; any other verb needs an existing run."""
    if command.verb == "train" and not command.options.resume_training:
        raise UsageError("--config is missing: a new run needs one, as in --config cifar10.yml")
    require_run(run)


def require_run(run: Path) -> Path:
    """The folder of an existing run. Raises ConfigError that names the nearest existing one."""
    if run.is_dir():
        return run
    logs, doc = run.parent, run.name
    known = sorted(path.name for path in logs.iterdir() if path.is_dir()) if logs.is_dir() else []
    hint = nearest(doc, known) or f"; runs there: {', '.join(known) or 'none'}"
    raise ConfigError(f"--doc {doc}: no such run in {logs}{hint}")
