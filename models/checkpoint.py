"""Checkpoints that are whole or not there: atomic to write, verified by content when read.

A checkpoint is a dictionary of named things (tensors and plain types, nested), stored by
`torch.save` with two more names beside them: "format" and "sha256", the digest of all the others.
Any program can read it with `torch.load(path, weights_only=True)`.
"""

import hashlib
import os
import platform
import re
import time
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

FORMAT = "skip-step checkpoint 1"
_RESERVED = ("format", "sha256")
_NAME = re.compile(r"ckpt_(\d+)\.pth")
_DAY = 24 * 3600.0


class CheckpointError(ValueError):
    """A file that cannot be used as a checkpoint: missing, damaged, foreign or dangerous."""


def save(path: str | os.PathLike, state: dict[str, Any]) -> None:
    """Write `state` to `path` so that at every moment `path` is absent, the old or the new file.

    `state` holds tensors, str, int, float, bool and None, in dictionaries, lists and tuples; its
    keys must not be "format" or "sha256". Raises ValueError for anything else and OSError where
    the file cannot be written; an existing file is then as it was, and no partial file stays.
    """
    path = Path(path)
    taken = [key for key in _RESERVED if key in state]
    if taken:
        raise ValueError(f"{path}: the names {taken} are kept for the checkpoint's own use")
    whole = {"format": FORMAT, "sha256": digest(state), **state}
    partial = _partial(path)
    try:
        with partial.open("wb") as file:
            torch.save(whole, file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        _sync_folder(path.parent)
    except (OSError, RuntimeError) as err:  # torch hides a full disk in a RuntimeError
        cause = err.__context__ if isinstance(err.__context__, OSError) else err
        raise OSError(f"{path}: checkpoint not written ({_brief(cause)})") from err
    finally:
        partial.unlink(missing_ok=True)


def load(path: str | os.PathLike, map_location: Any = "cpu") -> dict[str, Any]:
    """Read and verify what `save` wrote; raises CheckpointError naming the file and the reason."""
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"{path}: no such checkpoint")
    try:
        whole = torch.load(path, map_location=map_location, weights_only=True)
    except Exception as err:  # a damaged archive fails in every way there is
        raise CheckpointError(f"{path}: damaged, or not a checkpoint ({_brief(err)})") from err
    if not isinstance(whole, dict) or whole.get("format") != FORMAT:
        raise CheckpointError(f"{path}: not a checkpoint of this program")
    state = {key: value for key, value in whole.items() if key not in _RESERVED}
    try:
        found = digest(state)
    except Exception as err:  # damage can also make things that are neither tensor nor plain
        raise CheckpointError(f"{path}: damaged ({_brief(err)})") from err
    if found != whole.get("sha256"):
        raise CheckpointError(f"{path}: damaged, its contents do not match their SHA-256")
    return state


def is_ours(path: str | os.PathLike) -> bool:
    """Whether the file says that this program wrote it, valid or not; reads no tensor."""
    try:
        with zipfile.ZipFile(path) as archive:
            heads = [name for name in archive.namelist() if name.endswith("/data.pkl")]
            return bool(heads) and FORMAT.encode() in archive.read(heads[0])
    except (OSError, zipfile.BadZipFile):
        return False


def path_of(folder: str | os.PathLike, step: int) -> Path:
    """Where the checkpoint of `step` lies."""
    return Path(folder) / f"ckpt_{step}.pth"


def steps(folder: str | os.PathLike) -> list[int]:
    """The steps that have a checkpoint file in `folder`, ascending; [] without such a folder."""
    folder = Path(folder)
    names = [entry.name for entry in folder.iterdir()] if folder.is_dir() else []
    found = [_NAME.fullmatch(name) for name in names]
    return sorted({int(m[1]) for m in found if m and m[0] == path_of(folder, int(m[1])).name})


def latest(
    folder: str | os.PathLike, warn: Callable[[str], None], map_location: Any = "cpu"
) -> tuple[Path, dict[str, Any]] | None:
    """The newest checkpoint that is whole, as (path, state); None if there is no checkpoint.

    Damaged ones on the way are named through `warn`, together with the one used instead. Raises
    CheckpointError, naming them, if all are damaged.
    """
    damaged: list[str] = []
    for step in reversed(steps(folder)):
        path = path_of(folder, step)
        try:
            state = load(path, map_location)
        except CheckpointError as err:
            damaged.append(str(err))
            continue
        if damaged:
            warn(f"{'; '.join(damaged)}; using {path} instead")
        return path, state
    if damaged:
        raise CheckpointError(f"no usable checkpoint in {folder}: {'; '.join(damaged)}")
    return None


def prune(folder: str | os.PathLike, keep_last: int, milestone_freq: int | None) -> list[Path]:
    """Delete old checkpoints and the partial files of dead writers; returns what was deleted.

    The newest `keep_last` (at least 1) stay, and every step that is a multiple of
    `milestone_freq` (None or 0: no milestones).
    """
    if keep_last < 1:
        raise ValueError(f"keep_last: {keep_last} must be at least 1")
    old = steps(folder)[:-keep_last]
    doomed = [path_of(folder, s) for s in old if not milestone_freq or s % milestone_freq]
    doomed += [entry for entry in Path(folder).glob(".ckpt_*.tmp") if _abandoned(entry)]
    for path in doomed:
        path.unlink(missing_ok=True)
    return doomed


def weights_hash(state_dict: dict[str, Tensor]) -> str:
    """16 hexadecimal digits that tell one set of weights from another, whatever its order."""
    return digest(dict(state_dict))[:16]


def digest(state: Any) -> str:
    """SHA-256 over a canonical walk: names, types, dtypes, shapes and raw bytes.

    Blind to device, memory layout and the order of dictionaries. Raises ValueError where
    something is neither a tensor nor of a plain type.
    """
    sha = hashlib.sha256()
    _walk(sha.update, state, "state")
    return sha.hexdigest()


def _walk(put: Callable[[Any], None], node: Any, where: str) -> None:
    kind = type(node)
    if kind in (dict, OrderedDict):
        put(b"{%d:" % len(node))
        for key in sorted(node, key=repr):
            _walk(put, key, f"a key of {where}")
            _walk(put, node[key], f"{where}.{key}")
    elif kind in (list, tuple):
        put(b"%s%d:" % (b"[" if kind is list else b"(", len(node)))
        for i, item in enumerate(node):
            _walk(put, item, f"{where}.{i}")
    elif kind in (Tensor, nn.Parameter) and node.layout == torch.strided:
        put(f"T{node.dtype}{tuple(node.shape)}".encode())
        flat = node.detach().cpu().resolve_conj().resolve_neg().contiguous().reshape(-1)
        put(flat.view(torch.uint8).numpy())
    elif kind in (str, int, float, bool, type(None)):
        text = f"{kind.__name__}{node!r}".encode("utf-8", "backslashreplace")
        put(b"%d:%s" % (len(text), text))
    else:
        raise ValueError(
            f"{where} is a {kind.__module__}.{kind.__qualname__}; "
            "a checkpoint holds only tensors and plain types"
        )


def _partial(path: Path) -> Path:
    """The temporary name of this writer: hidden, in the same folder, with host and process."""
    return path.with_name(f".{path.name}.{platform.node()}.{os.getpid()}.tmp")


def _abandoned(partial: Path) -> bool:
    """Whether the writer of this temporary file is surely gone."""
    name, _, pid = partial.name.removesuffix(".tmp").rpartition(".")
    try:
        if time.time() - partial.stat().st_mtime > _DAY:
            return True
    except FileNotFoundError:  # just renamed by its writer
        return False
    here = name.endswith(f".{platform.node()}") and os.name == "posix"
    return here and pid.isdecimal() and not _alive(int(pid))


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":  # elsewhere a folder cannot be opened
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _brief(err: BaseException) -> str:
    """The first line of an error's text."""
    return (str(err).strip() or type(err).__name__).splitlines()[0][:200]
