"""Reader of pickled networks (`network-snapshot*.pkl` of EDM and EDM2) that runs nothing of theirs.

A pickle is a program: it names functions and calls them. Here every name that it may call has a
stand-in in `stand_ins.py`; no module that a pickle names is imported, and a name outside the list
ends the reading.
"""

import io
import pickle
import pickletools
from typing import Any, ClassVar

from models.interop.stand_ins import (
    NAMES,
    STORAGE,
    Function,
    Record,
    UnsafeError,
    Weight,
    read_storage,
    require_keys,
    shown,
)

__all__ = ["Record", "UnsafeError", "Weight", "shown", "unpickle"]

# They would reach registered extensions, objects outside the file, or a memo of any size.
_REFUSED = {"EXT1", "EXT2", "EXT4", "PERSID", "BINPERSID", "NEXT_BUFFER", "READONLY_BUFFER"}
_REFUSED |= {"FROZENSET"}
_MEMO = {"PUT", "BINPUT", "LONG_BINPUT"}


class _Unpickler(pickle._Unpickler):
    """Python's own reader in Python, for it can be told to look at keys before they are hashed."""

    stack: list[Any]

    def __init__(self, content: bytes) -> None:
        super().__init__(io.BytesIO(content))
        self._storages: dict[int, tuple[bytes, Weight]] = {}
        self._once = Function(self._storage_once)

    def find_class(self, module: str, name: str) -> Any:
        found = NAMES.get(f"{module}.{name}")
        if found is STORAGE:
            return self._once
        if found is None:
            raise UnsafeError(f"names {shown(module)}.{shown(name)}, which no network needs")
        return found

    def _storage_once(self, content: Any) -> Weight:
        """Read a storage once, however often the pickle asks for it."""
        if id(content) not in self._storages:
            self._storages[id(content)] = (content, read_storage(content))  # kept alive for its id
        return self._storages[id(content)][1]

    dispatch: ClassVar[dict[int, Any]] = dict(pickle._Unpickler.dispatch)


def _check_keys_of(code: bytes, keys: slice) -> None:
    """Let the instruction `code` look at its keys, a part of the stack, before it takes them."""
    taken: Any = pickle._Unpickler.dispatch[code[0]]

    def checked(reader: Any) -> None:
        require_keys(reader.stack[keys])
        taken(reader)

    _Unpickler.dispatch[code[0]] = checked


_check_keys_of(pickle.SETITEM, slice(-2, -1))
_check_keys_of(pickle.SETITEMS, slice(0, None, 2))
_check_keys_of(pickle.DICT, slice(0, None, 2))
_check_keys_of(pickle.ADDITEMS, slice(0, None))


def unpickle(content: bytes) -> Any:
    """Read a pickle into plain containers, numbers, text, `Weight`s and `Record`s.

    Raises ValueError with one line, to follow the name of the file, for anything else.
    """
    try:
        _scan(content)
        found = _Unpickler(content).load()
    except UnsafeError as err:
        raise ValueError(f"not opened for safety: it {err}") from err
    except Exception as err:  # a damaged pickle fails in every way there is
        raise ValueError(f"damaged, or no pickle of a network ({type(err).__name__})") from err
    return found


def _scan(content: bytes) -> None:
    """Check every instruction before one is carried out."""
    for count, (code, argument, _) in enumerate(pickletools.genops(content)):
        if code.name in _REFUSED:
            raise UnsafeError(f"holds the instruction {code.name}, which no network needs")
        if code.name in _MEMO and isinstance(argument, int) and argument > count:
            raise UnsafeError("asks for more memory than it can fill")
