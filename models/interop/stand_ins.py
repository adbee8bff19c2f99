"""Stand-ins for everything that a pickle of a network may call, by the names of the allow-list.

A network becomes a `Record`: the name of its class, and its attributes.
"""

import io
import pickletools
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NoReturn

import numpy as np
import torch
from torch import Tensor

# The pickles at the head of a storage call nothing.
_CALLS = {"REDUCE", "BUILD", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "STACK_GLOBAL", "PERSID"}
_CALLS |= {"EXT1", "EXT2", "EXT4"}
_LEGACY = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."  # a file of PyTorch that is no archive
_FEW = 16  # items that one call may copy: a list can be named again and again in a few bytes


class UnsafeError(ValueError):
    """A pickle that names something outside the allow-list, or uses the list in another way than
    files of networks do; one line.
    """


class Record:
    """An object of another program that is not made: the name of its class and its attributes."""

    __slots__ = ("class_name", "state")
    class_name: str
    state: dict[str, Any]

    def __new__(cls, *_arguments: Any) -> "Record":  # a pickle makes containers without __init__
        made = super().__new__(cls)
        made.class_name, made.state = cls.__name__, {}
        return made

    def __init__(self, class_name: str = "", state: Any = None) -> None:
        self.class_name = class_name or self.class_name
        self.__setstate__({} if state is None else state)

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, dict):
            raise UnsafeError(f"gives a {self.class_name} a state that is no dictionary")
        self.state = state  # no copy: a small pickle could ask for thousands


class Weight:
    """A tensor of the file, beyond the reach of the pickle."""

    __slots__ = ("tensor",)

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor

    def __setstate__(self, state: Any) -> NoReturn:
        raise UnsafeError("sets the state of a tensor")


class _Dict(dict):
    """Any kind of dictionary, made empty; attributes of its own are dropped."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__()

    def __setstate__(self, state: Any) -> None:
        pass


class _Dtype:
    """A dtype of numpy that holds numbers: its letter and size, then its byte order."""

    __slots__ = ("dtype",)

    def __init__(self, code: Any, *_flags: Any) -> None:
        if not isinstance(code, str) or code not in _NUMBERS:
            raise UnsafeError(f"asks for numbers of the kind {str(code)[:20]!r}")
        self.dtype = np.dtype(code)

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, tuple) and len(state) > 1 and state[1] in ("<", ">"):
            self.dtype = self.dtype.newbyteorder(state[1])


_NUMBERS = [kind + size for kind in "iuf" for size in "1248" if kind + size != "f1"] + ["b1"]


class _Array:
    """An array of numpy: empty, until its state is set."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = np.zeros(0)

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, by_columns, content = state
        if not isinstance(dtype, _Dtype) or not isinstance(content, bytes):
            raise UnsafeError("gives an array of numpy a content that is no numbers")
        flat = np.frombuffer(content, dtype.dtype)
        self.value = flat.reshape(shape, order="F" if by_columns else "C")


class Function:
    """A function of this file under the name that a pickle has for it; it has no attributes."""

    __slots__ = ("_called",)
    _called: Callable[..., Any]

    def __init__(self, called: Callable[..., Any]) -> None:
        object.__setattr__(self, "_called", called)

    def __call__(self, *arguments: Any) -> Any:
        return self._called(*arguments)

    def __setattr__(self, name: str, value: Any) -> NoReturn:
        raise UnsafeError("sets an attribute of a function")

    def __setstate__(self, state: Any) -> NoReturn:
        raise UnsafeError("sets the state of a function")


def _persistent(meta: Any) -> Record:
    """An object of `torch_utils.persistence`. Its source text (`module_src`) is left unread."""
    if not isinstance(meta, dict) or not isinstance(meta.get("class_name"), str):
        raise UnsafeError("holds a persistent object without the name of its class")
    return Record(shown(meta["class_name"]), meta.get("state"))


def read_storage(content: Any) -> Weight:
    """A storage, flat, from the bytes of a file of PyTorch inside the pickle."""
    if not isinstance(content, bytes):
        raise UnsafeError("asks for a storage of something else than bytes")
    _scan_storage(content)
    try:
        found = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as err:  # a damaged storage fails in every way there is
        raise UnsafeError("holds a tensor that is damaged, or more than numbers") from err
    if not isinstance(found, torch.TypedStorage):
        raise UnsafeError("asks for a storage of something else than numbers")
    return Weight(torch.tensor([], dtype=found.dtype).set_(found))


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *_rest: Any) -> Weight:
    """A tensor (size) over a storage. No number of the storage may be repeated without end."""
    whole = isinstance(size, tuple) and isinstance(stride, tuple)
    whole = whole and len(size) == len(stride) <= _FEW
    numbers = (offset, *size, *stride) if whole else ()
    if not isinstance(storage, Weight) or not whole or not all(map(_natural, numbers)):
        raise UnsafeError("holds a tensor without a storage or a shape")
    flat = storage.tensor.flatten()
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if 0 not in size and (last >= len(flat) or np.prod(size, dtype=object) > len(flat)):
        raise UnsafeError(f"holds a tensor {tuple(size)} that its {len(flat)} numbers do not fill")
    return Weight(flat.as_strided(size, stride, offset))


def _natural(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**48


def _parameter(data: Any, *_rest: Any) -> Weight:
    if not isinstance(data, Weight):
        raise UnsafeError("holds a parameter that is no tensor")
    return data


def _number(dtype: Any, content: Any = b"") -> int | float | bool:
    if not isinstance(dtype, _Dtype) or not isinstance(content, bytes):
        raise UnsafeError("holds a number of numpy that is none")
    (value,) = np.frombuffer(content, dtype.dtype)
    return value.item()


def _size(numbers: Any = ()) -> tuple[Any, ...]:
    if not isinstance(numbers, list | tuple) or len(numbers) > _FEW:
        raise UnsafeError("holds a size that is none")
    return tuple(numbers)


def _set(items: Any = ()) -> set[Any]:
    if not isinstance(items, list | tuple) or len(items) > _FEW:
        raise UnsafeError("holds a set that no network needs")
    require_keys(items)
    return set(items)


def _containers() -> dict[str, type[Record]]:
    """Containers of torch.nn, which a pickle makes by their class."""
    names = ("ModuleDict", "ModuleList", "Sequential", "ParameterDict", "ParameterList")
    place = "torch.nn.modules.container"
    return {f"{place}.{name}": type(name, (Record,), {"__slots__": ()}) for name in names}


def shown(name: str) -> str:
    """Name of a file as a message may show it: short, and no character that steers a terminal."""
    return "".join(char if char.isprintable() else "?" for char in name[:80])


def require_keys(keys: Iterable[Any]) -> None:
    """Raises UnsafeError for other keys than text and numbers. Python's hash of nested tuples takes
    time exponential in their depth, or overflows the stack of the process.
    """
    for key in keys:
        if type(key) not in _KEYS or (type(key) is int and key.bit_length() > 64):
            raise UnsafeError("holds a key that is neither text nor a number")


_KEYS = {str, bytes, int, float, bool, type(None)}


def _scan_storage(content: bytes) -> None:
    """Check the pickles at the head of a storage: a number, a version, a machine, the storage's
    place, and its key. PyTorch's reader makes byte arrays of any size for a pickle that asks.
    """
    if not content.startswith(_LEGACY):
        raise UnsafeError("holds a tensor in a form that no network has")
    file, count = io.BytesIO(content), 0
    for _ in range(5):
        for code, _, _ in pickletools.genops(file):
            count += 1
            if code.name in _CALLS or count > 200:
                raise UnsafeError("holds a tensor that is damaged, or more than numbers")


STORAGE = Function(read_storage)
NAMES: Mapping[str, Any] = {
    "collections.OrderedDict": _Dict,
    "dnnlib.util.EasyDict": _Dict,
    "builtins.set": Function(_set),
    "torch_utils.persistence._reconstruct_persistent_obj": Function(_persistent),
    "torch.storage._load_from_bytes": STORAGE,
    "torch._utils._rebuild_tensor_v2": Function(_tensor),
    "torch._utils._rebuild_parameter": Function(_parameter),
    "torch.Size": Function(_size),
    "numpy.dtype": _Dtype,
    "numpy.ndarray": _Array,
    **_containers(),
    **{
        f"numpy.{core}.multiarray.{name}": Function(made)
        for core in ("core", "_core")
        for name, made in (("scalar", _number), ("_reconstruct", lambda *_: _Array()))
    },
}
