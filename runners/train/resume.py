"""The folder of a run: made, entered again, or moved aside, and the checkpoint to resume from."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from configs.command.locate import require_run
from configs.command.options import Options
from configs.schema import Config, ConfigError, dump, from_values, load
from datasets import ImageDataset
from models import checkpoint
from runners.machine.processes import Ranks
from runners.model import weights
from runners.record import files, run_folder

log = logging.getLogger("skip_step")


def choose(options: Options) -> str:
    """Decide what happens to the run's folder: "new", "resume" or "overwrite". Asks at a terminal.

    Raises ConfigError where a folder exists and nobody says what to do with it.
    """
    run = options.run
    if options.resume_training:
        require_run(run)
        return "resume"
    if not run.exists():
        return "new"
    if options.overwrite:
        return "overwrite"
    answer = run_folder.ask(run) if run_folder.may_ask(options.ni) else "quit"
    if answer == "quit":
        raise ConfigError(
            f"{run} exists; go on with it by --resume_training, or move it aside and start "
            "anew by --overwrite"
        )
    return answer


def open_run(
    config: Config, options: Options, choice: str, dataset: ImageDataset, ranks: Ranks
) -> dict[str, Any] | None:
    """Make or enter the run's folder as `choose` said, and write its config.yml.

    Returns the checkpoint to resume from, None to begin. Raises ConfigError for a run that was
    begun with another config or with other images.
    """
    run = options.run

    def prepare() -> None:
        if choice == "overwrite":
            for folder in (run, options.tensorboard):
                if folder.exists():
                    files.move_aside(folder)
        if not (run / "config.yml").exists():
            files.write_text(run / "config.yml", dump(config))

    ranks.on_first(prepare)
    if choice != "resume":
        return None
    found = checkpoint.latest(run, log.warning if ranks.first else lambda text: None)
    if found is None:
        if foreign := weights.checkpoint_files(run):
            raise ConfigError(
                f"--resume_training: {run} holds {', '.join(foreign)} of another program, which "
                "can only be sampled from; train under another --doc"
            )
        run_folder.check_same_run(load(run / "config.yml"), config, run)
        log.info("%s has no checkpoint yet: starting from the beginning", run)
        return None
    path, state = found
    weights.require_training(state, str(path))
    run_folder.check_same_run(from_values(state["config"], str(path)), config, run)
    then, now = state["data"], identity(dataset)
    if any(then[key] != now[key] for key in then.keys() & now.keys()):
        raise ConfigError(
            f"--resume_training: the images have changed since {path} ({then['images']} then, "
            f"{now['images']} now); restore them, or start another --doc"
        )
    ranks.on_first(lambda: _set_damaged_aside(run, state["step"]))
    ranks.on_first(lambda: _renew_imports(run, state["config"].get("imports", ()), config))
    log.info("resuming from %s", path)
    return state


def identity(dataset: ImageDataset) -> dict[str, Any]:
    """Number and fingerprint of the images, as a checkpoint holds them.

    Decoded and streamed images have different fingerprints, so each form has a key of its own.
    """
    form = "decoded" if dataset.in_memory else "streamed"
    return {"images": len(dataset), form: dataset.fingerprint()}


def _renew_imports(run: Path, before: Iterable[Mapping[str, str]], config: Config) -> None:
    """Write the SHA-256 of imports that have changed since into the run's config.yml."""
    known, path = {record["file"]: record["sha256"] for record in before}, run / "config.yml"
    changed = [new for new in config.imports if known.get(new.file, new.sha256) != new.sha256]
    if not changed:
        return
    text = path.read_text(encoding="utf-8")
    for new in changed:
        text = text.replace(known[new.file], new.sha256)
    files.move_aside(path)
    files.write_text(path, text)


def _set_damaged_aside(run: Path, step: int) -> None:
    """Rename the files that are newer than the one resumed from: they are damaged, and left under
    their names they would count as the newest.
    """
    for newer in [s for s in checkpoint.steps(run) if s > step]:
        path = checkpoint.path_of(run, newer)
        log.warning("damaged %s renamed to %s.damaged", path, path.name)
        path.replace(path.with_name(f"{path.name}.damaged"))
