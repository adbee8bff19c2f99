"""Checkpoint files: written atomically, and verified by their content when they are read.

A checkpoint is a nested dictionary of tensors and plain values, stored by `torch.save` with two
more keys: "format", and "sha256", the digest of all the others. Any program can read it with
`torch.load(path, weights_only=True)`.
"""

import hashlib
import os
import platform
import re
import struct
import time
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

FORMAT = "skip-step checkpoint 1"
_RESERVED = ("format", "sha256")
_LEGACY = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."  # start of files of PyTorch before 1.6
_NAME = re.compile(r"ckpt_(\d+)\.pth")
_DAY = 24 * 3600.0
_BAD_ZIP = (  # errors of zipfile for damaged files
    OSError,
    ValueError,
    RuntimeError,
    LookupError,
    EOFError,
    struct.error,
    zlib.error,
    zipfile.BadZipFile,
)


class CheckpointError(ValueError):
    """File that cannot be used as a checkpoint: missing, damaged, foreign or dangerous."""


def save(path: str | os.PathLike, state: dict[str, Any]) -> None:
    """Write `state` to `path` atomically: at every moment `path` is the old or the new file.

    state: tensors, str, int, float, bool and None, in dictionaries, lists and tuples, without the
    keys "format" and "sha256". Raises ValueError for anything else and OSError where the file
    cannot be written; an existing file is then unchanged, and no partial file stays.
    """
    path = Path(path)
    taken = [key for key in _RESERVED if key in state]
    if taken:
        raise ValueError(f"{path}: the keys {taken} belong to the file format; rename them")
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
    """Read and verify a checkpoint. Raises CheckpointError with the file and the reason."""
    path = Path(path)
    whole = _whole(path, map_location=map_location)
    state = {key: value for key, value in whole.items() if key not in _RESERVED}
    try:
        found = digest(state)
    except Exception as err:  # damage can also make things that are neither tensor nor plain
        raise CheckpointError(f"{path}: damaged ({_brief(err)})") from err
    if found != whole.get("sha256"):
        raise CheckpointError(f"{path}: damaged, its contents do not match their SHA-256")
    return state


def peek(path: str | os.PathLike, key: str) -> Any:
    """Read one entry of a checkpoint, None where it has none, without verifying it: the tensors
    stay on the disk. Raises CheckpointError as `load` does.
    """
    return _whole(Path(path), map_location="cpu", mmap=True).get(key)


def _whole(path: Path, **how: Any) -> dict[str, Any]:
    if not path.is_file():
        raise CheckpointError(f"{path}: no such checkpoint")
    try:
        whole = torch.load(path, weights_only=True, **how)
    except Exception as err:  # a damaged archive fails in every way there is
        raise CheckpointError(f"{path}: damaged, or not a checkpoint ({_brief(err)})") from err
    if not isinstance(whole, dict) or whole.get("format") != FORMAT:
        raise CheckpointError(f"{path}: not a checkpoint of this program")
    return whole


def is_ours(path: str | os.PathLike) -> bool:
    """Decide whether this program wrote a file, by its mark; reads no tensor."""
    content = _plain_content(path)
    return content is not None and FORMAT.encode() in content


def is_foreign(path: str | os.PathLike) -> bool:
    """Decide whether another program wrote a file: a PyTorch file that can be opened and lacks the
    mark. A file that cannot be opened is not foreign: it may be a damaged checkpoint.
    """
    content = _plain_content(path)
    return content is not None and FORMAT.encode() not in content


def _plain_content(path: str | os.PathLike) -> bytes | None:
    """Read the pickled part of a PyTorch file, without its tensors; None where it is damaged."""
    try:
        with Path(path).open("rb") as file:
            if file.read(len(_LEGACY)) == _LEGACY:
                return _LEGACY  # such files are not zips, and this program never wrote one
            with zipfile.ZipFile(file) as archive:
                heads = [name for name in archive.namelist() if name.endswith("/data.pkl")]
                return archive.read(heads[0]) if heads else None
    except _BAD_ZIP:
        return None


def path_of(folder: str | os.PathLike, step: int) -> Path:
    """Name the checkpoint file of a step."""
    return Path(folder) / f"ckpt_{step}.pth"


def steps(folder: str | os.PathLike) -> list[int]:
    """List the steps that have a checkpoint in `folder`, ascending; [] without such a folder.

    Damaged checkpoints are listed; files of another program under such a name are not, such as
    those of the DDIM repository's trainer.
    """
    folder = Path(folder)
    names = [entry.name for entry in folder.iterdir()] if folder.is_dir() else []
    found = {int(m[1]) for m in map(_NAME.fullmatch, names) if m}
    named = [step for step in found if path_of(folder, step).name in names]
    return sorted(step for step in named if not is_foreign(path_of(folder, step)))


def latest(
    folder: str | os.PathLike, warn: Callable[[str], None], map_location: Any = "cpu"
) -> tuple[Path, dict[str, Any]] | None:
    """Load the newest checkpoint that is not damaged: (path, state); None if there is none at all.

    warn: called with a line that names newer, damaged ones and the one used instead. Raises
    CheckpointError, which names them, if all are damaged.
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
    """Delete old checkpoints and partial files of ended processes; return the deleted paths.

    keep_last: number of newest checkpoints that stay, at least 1; milestone_freq: steps that are
    multiples of it stay too (None or 0: none).
    """
    if keep_last < 1:
        raise ValueError(f"keep_last: {keep_last} must be at least 1")
    old = steps(folder)[:-keep_last]
    doomed = [path_of(folder, s) for s in old if not milestone_freq or s % milestone_freq]
    partial = (entry for kind in ("ckpt", "ema") for entry in Path(folder).glob(f".{kind}_*.tmp"))
    doomed += [entry for entry in partial if _abandoned(entry)]
    for path in doomed:
        path.unlink(missing_ok=True)
    return doomed


def weights_hash(state_dict: dict[str, Tensor]) -> str:
    """Hash weights to 16 hexadecimal digits; the order of their names has no influence."""
    return digest(dict(state_dict))[:16]


def digest(state: Any) -> str:
    """Hash (SHA-256, 64 digits) the names, types, dtypes, shapes and raw bytes of a state.

    Device, memory layout and the order of dictionaries have no influence. Raises ValueError for a
    value that is neither a tensor nor of a plain type.
    """
    sha = hashlib.sha256()
    _walk(sha.update, state, "state")
    return sha.hexdigest()


def _walk(put: Callable[[Any], None], node: Any, where: str) -> None:
    """Call `put` with the bytes of everything in `node`. where: path of the node, for messages."""
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
    """Name this process' temporary file: hidden, in the same folder, with host and process id."""
    return path.with_name(f".{path.name}.{platform.node()}.{os.getpid()}.tmp")


def _abandoned(partial: Path) -> bool:
    """Decide whether the process that wrote this temporary file has ended for certain."""
    name, _, pid = partial.name.removesuffix(".tmp").rpartition(".")
    try:
        if time.time() - partial.stat().st_mtime > _DAY:
            return True
    except FileNotFoundError:  # its writer has just renamed it
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
    if os.name != "posix":  # on other systems a folder cannot be opened
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _brief(err: BaseException) -> str:
    """Give the first line of an error's text."""
    return (str(err).strip() or type(err).__name__).splitlines()[0][:200]
