"""The reader of pickled networks: what it reads, and that it runs nothing."""

import copyreg
import io
import pickle
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from models.interop.unpickle import Record, Weight, unpickle
from tests.models.formats import Persistent, fake_modules


@pytest.fixture
def trace(tmp_path):
    """A file that a malicious pickle would make."""
    path = tmp_path / "trace"
    yield path
    assert not path.exists()


def storage_bytes(tensor):
    buffer = io.BytesIO()
    storage = torch.TypedStorage(
        wrap_storage=tensor.untyped_storage(), dtype=tensor.dtype, _internal=True
    )
    torch.save(storage, buffer, _use_new_zipfile_serialization=False)
    return buffer.getvalue()


class Calls:
    """Pickles as a call of `function` with `arguments`, then a state."""

    def __init__(self, function, *arguments, state=None):
        self.made = (function, arguments, *([] if state is None else [state]))

    def __reduce__(self):
        return self.made


def named(module, name):
    """A global of any name, as one instruction of protocol 0."""
    return f"c{module}\n{name}\n".encode()


def test_plain_values_tensors_and_containers_come_back():
    base = torch.arange(12.0)
    tensors = {"whole": base, "part": base[2:8].view(2, 3).T, "half": torch.ones(2).half()}
    numbers = [np.float64(0.5), np.int32(3), np.float32(1.5)]
    layers = torch.nn.ModuleDict({"a": torch.nn.ModuleList()})
    whole = {"t": tensors, "n": numbers, "s": {1}, "p": torch.nn.Parameter(base), "m": layers}
    found = unpickle(pickle.dumps(whole, protocol=4))
    for key, tensor in tensors.items():
        assert (
            torch.equal(found["t"][key].tensor, tensor)
            and found["t"][key].tensor.dtype == tensor.dtype
        )
    assert found["n"] == [0.5, 3, 1.5] and {type(n) for n in found["n"]} == {int, float}
    assert found["s"] == {1} and isinstance(found["p"], Weight)
    assert found["m"].class_name == "ModuleDict"
    assert found["m"].state["_modules"]["a"].class_name == "ModuleList"
    array = unpickle(pickle.dumps(np.arange(6).reshape(2, 3).T, protocol=4))
    assert array.value.tolist() == [[0, 3], [1, 4], [2, 5]]


def test_an_object_of_a_persistent_class_is_a_record_and_its_source_is_not_run(monkeypatch):
    with fake_modules():
        content = pickle.dumps(Persistent("Net", weight=torch.ones(2), inner=Persistent("Block")))
    found = unpickle(content)
    assert isinstance(found, Record) and found.class_name == "Net"
    assert found.state["inner"].class_name == "Block" and found.state["weight"].tensor.tolist() == [
        1,
        1,
    ]
    assert not {"torch_utils", "dnnlib"} & sys.modules.keys()


def test_no_module_that_a_pickle_names_is_imported(tmp_path, monkeypatch, trace):
    (tmp_path / "harmful.py").write_text(f"open({str(trace)!r}, 'w')\n")
    (tmp_path / "torch_utils").mkdir()
    (tmp_path / "torch_utils" / "persistence.py").write_text(f"open({str(trace)!r}, 'w')\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match=r"it names harmful\.thing"):
        unpickle(named("harmful", "thing") + b".")
    with fake_modules():
        content = pickle.dumps(Persistent("Net"))
    assert unpickle(content).class_name == "Net"


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("os", "system"),
        ("posix", "system"),
        ("builtins", "eval"),
        ("builtins", "getattr"),
        ("torch", "load"),
        ("torch.hub", "load"),
        ("torch_utils.persistence", "persistent_class"),
        ("torch.storage", "_load_from_bytes.__globals__"),
        ("collections", "OrderedDict.__init__"),
        ("models.interop.unpickle", "_storage"),
        ("numpy", "ndarray.tofile"),
        ("copyreg", "_reconstructor"),
        ("torch.nn.modules.linear", "Linear"),
        ("codecs", "open"),
        ("a\x1b[2J" + "b" * 200, "c"),
    ],
)
def test_a_name_outside_the_list_is_refused_in_one_line(module, name):
    with pytest.raises(ValueError, match="not opened for safety: it names") as caught:
        unpickle(named(module, name) + b"(S'x'\ntR.")
    text = str(caught.value)
    assert text.isprintable() and len(text) < 300
    if len(module) < 80:
        assert f"{module}.{name}" in text
    with pytest.raises(ValueError, match="not opened for safety: it names"):  # as protocol 4 has it
        words = (word.encode() for word in (module, name))
        unpickle(
            b"\x80\x04"
            + b"".join(b"\x8c" + bytes([len(w[:200])]) + w[:200] for w in words)
            + b"\x93."
        )


PERSISTENCE = named("torch_utils.persistence", "_reconstruct_persistent_obj")
LOAD = named("torch.storage", "_load_from_bytes")
ORDERED, TENSOR = named("collections", "OrderedDict"), named("torch._utils", "_rebuild_tensor_v2")
MODULES = named("torch.nn.modules.container", "ModuleDict")


def binary(content):
    return b"B" + struct.pack("<I", len(content)) + content


DEEP = b"N" + 500_000 * b"\x85"  # Python's hash of it overflows the stack
HEAD = b"".join(pickle.dumps(v, 2) for v in (torch.serialization.MAGIC_NUMBER, 1001, {}))
ENDLESS = b"\x80\x02" + named("builtins", "bytearray") + b"\x8a\x06\0\0\0\0\0\x7f\x85R."


def hostile(trace):
    """Pickles that would run a command or change this program, by what they try."""
    run = named("os", "system") + f"S'touch {trace}'\n".encode() + b"\x85R"
    inner = pickle.dumps(Calls(Path.touch, trace), protocol=2)
    whole = io.BytesIO()
    torch.save({"w": Calls(Path.touch, trace)}, whole, _use_new_zipfile_serialization=False)
    setter = b"(S'__setstate__'\n" + named("os", "system") + b"d"
    return {
        "a call": run + b".",
        "a call inside a list": b"(" + run + b"l.",
        "an object": b"(S'touch'\nios\nsystem\n.",
        "an object from the stack": b"(" + named("os", "system") + b"S'touch'\no.",
        "new": named("subprocess", "Popen") + b"(S'touch'\nt\x81.",
        "a pickle in a storage": LOAD + binary(inner) + b"\x85R.",
        "a PyTorch file in a storage": LOAD + binary(whole.getvalue()) + b"\x85R.",
        "text as a storage": LOAD + f"S'{trace}'\n".encode() + b"\x85R.",
        "a state of a function": PERSISTENCE + setter + b"b.",
        "attributes of a function": PERSISTENCE + b"N(S'_called'\nNd\x86b.",
        "defaults of a class": ORDERED + b"N(S'__init__'\nNd\x86b.",
        "attributes of a container's class": MODULES + b"N(S'__init__'\nNd\x86b.",
        "a setter among attributes": MODULES + b")\x81" + setter + b"b.",
        "slots of a container": MODULES + b")\x81N(S'class_name'\nNd\x86b.",
        "no class of its own": PERSISTENCE + b"(S'state'\n(dd\x85R.",
        "a tensor of no storage": TENSOR + b"(NK\x00(K\x01t(K\x01tI00\nNtR.",
        "a registered number": b"\x80\x02\x82\xf0.",
        "an object outside": b"Psomething\n.",
        "a memo without end": b"\x80\x04Nr\xff\xff\xff\x7f.",
        "an endless text": b"\x80\x04\x8d" + struct.pack("<Q", 2**60) + b"abc.",
        "a call of a list": b"]K\x01\x85R.",
        "a deep key": b"}" + DEEP + b"Ns.",
        "a deep key among others": b"}(" + DEEP + b"Nu.",
        "a deep key of a new dictionary": b"(" + DEEP + b"Nd.",
        "a deep item of a set": b"\x80\x04\x8f(" + DEEP + b"\x90.",
        "a deep item of a frozen set": b"\x80\x04(" + DEEP + b"\x91.",
        "a deep item of a called set": named("builtins", "set") + b"](" + DEEP + b"e\x85R.",
        "a key of exponential time": b"}N\x85" + 60 * b"2\x86" + b"Ns.",
        "a list copied": named("torch", "Size") + b"](" + 99 * b"N" + b"e\x85R.",
        "pairs copied": ORDERED[:-1] + b"]](K\x01K\x02ea\x85R.",
        "bytes without end in a storage": LOAD + binary(HEAD + ENDLESS) + b"\x85R.",
        "an archive in a storage": LOAD + binary(b"PK" + bytes(99)) + b"\x85R.",
        "the class of a record": MODULES + b"(S'x'\nS'k'\ntR.",
    }


@pytest.mark.parametrize("kind", [*hostile(Path("x"))])
def test_hostile_pickles_run_nothing_and_end_in_one_line(kind, trace):
    with pytest.raises(ValueError, match=r"^(not opened for safety|damaged)") as caught:
        unpickle(hostile(trace)[kind])
    assert "\n" not in str(caught.value)
    with fake_modules():  # the stand-ins are as they were
        content = pickle.dumps([Persistent("Net"), torch.nn.ModuleDict()])
    assert [record.class_name for record in unpickle(content)] == ["Net", "ModuleDict"]


def test_registered_extensions_are_refused_even_when_python_has_them_ready(trace):
    copyreg.add_extension("os", "system", 240)
    try:
        content = b"\x80\x02\x82\xf0" + f"S'touch {trace}'\n".encode() + b"\x85R."
        copyreg._extension_cache[240] = __import__("os").system
        with pytest.raises(ValueError, match="EXT1"):
            unpickle(content)
    finally:
        copyreg.remove_extension("os", "system", 240)
        copyreg.clear_extension_cache()


@pytest.mark.parametrize(
    ("size", "stride", "offset"),
    [
        ((2**40,), (0,), 0),
        ((7,), (1,), 0),
        ((3, 3), (2, 1), 0),
        ((2,), (1,), 5),
        ((2,), (-1,), 0),
        ((-1,), (1,), 0),
        ((2, 2), (1,), 0),
        ((2**30, 2**30, 2**30), (0, 0, 0), 0),
    ],
)
def test_tensors_larger_than_their_numbers_are_refused(size, stride, offset):
    with pytest.raises(ValueError, match=r"it holds a tensor (\(.*do not fill|without a storage)"):
        unpickle(pickle.dumps(tensor_of(size, stride, offset), protocol=4))


@pytest.mark.parametrize(
    ("size", "stride", "offset", "values"),
    [
        ((), (), 5, 5.0),
        ((2, 3), (1, 2), 0, [[0, 2, 4], [1, 3, 5]]),
        ((2,), (3,), 2, [2, 5]),
        ((0, 7), (7, 1), 0, []),
    ],
)
def test_tensors_within_their_numbers_are_read(size, stride, offset, values):
    found = unpickle(pickle.dumps(tensor_of(size, stride, offset), protocol=4))
    assert found.tensor.tolist() == values


def tensor_of(size, stride, offset):
    """A tensor over the numbers 0 to 5, as torch pickles one."""
    storage = Calls(torch.storage._load_from_bytes, storage_bytes(torch.arange(6.0)))
    return Calls(torch._utils._rebuild_tensor_v2, storage, offset, size, stride, False, {})


def test_damaged_pickles_are_refused_in_one_line():
    with fake_modules():
        content = pickle.dumps({"ema": Persistent("Net", w=torch.ones(100))}, protocol=4)
    for cut in (0, 1, 10, len(content) // 2, len(content) - 1):
        with pytest.raises(ValueError, match=r"^damaged, or no pickle of a network \(\w+\)$"):
            unpickle(content[:cut])


def test_what_a_pickle_names_again_and_again_is_not_copied():
    content = storage_bytes(torch.arange(9.0))
    first = LOAD + b"p0\n0" + binary(content) + b"p1\n0("
    found = unpickle(b"\x80\x04" + first + 3 * b"h\x00h\x01\x85R" + b"l.")
    assert found[0] is found[1] is found[2]
    state = b"}(Vclass_name\nVNet\nVstate\n}up1\n0("
    records = unpickle(PERSISTENCE + b"p0\n0" + state + 2 * b"h\x00h\x01\x85R" + b"l.")
    assert records[0].state is records[1].state
