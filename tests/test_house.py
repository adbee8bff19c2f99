"""The house: which room may import which, no circles between files, sizes, facts of every part."""

import ast
import re
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from configs import papers
from configs.parts import KINDS
from configs.schema.options import load_rooms
from runners.report.citations import GUIDANCE

ROOT = Path(__file__).parents[1]
ROOMS = ("configs", "functions", "models", "datasets", "runners")
FILES = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))
FLOOR = ("configs", "configs.parts", "configs.values", "configs.papers")  # every room may import
# Rooms of runners, a floor a line: imports point to floors above their own line only.
FLOORS = (
    ("machine",),
    ("record",),
    ("model", "sheets"),
    ("sampling",),
    ("measure",),
    ("train", "sample", "test", "sweep", "picture", "report", "look", "export"),
    ("diffusion",),
)
LEVELS = {room: level for level, floor in enumerate(FLOORS) for room in floor}
LONGEST_FILE, LONGEST_FUNCTION = 300, 60


def name_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in FILES}


def walk(node):
    """Nodes below `node`, those that only type checkers see left out."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        yield child
        yield from walk(child)


@cache
def imports(module):
    """Modules of the program that a module imports, at its top or later."""
    found = set()
    for node in walk(ast.parse(MODULES[module].read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom) and node.module:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            inside = names & MODULES.keys()
            found |= inside | ({node.module} if len(inside) < len(names) else set())
    return {name for name in found if name in MODULES} - {module}


def room_of(module):
    """The room of a module: runners.train of runners.train.loop, functions of functions.plan."""
    parts = module.split(".")
    return parts[1] if parts[0] == "runners" and len(parts) > 1 else parts[0]


@pytest.mark.parametrize("module", MODULES)
def test_arrows_between_rooms_point_one_way(module):
    room, top = room_of(module), module.split(".")[0]
    for other in imports(module):
        there = other.split(".")[0]
        if there == "runners":
            assert top == "runners", f"{module} imports {other}"
            if room_of(other) != room and room != "runners":
                assert LEVELS[room_of(other)] < LEVELS[room], f"{module} imports {other}"
        if top in ("functions", "models", "datasets") and there != top:
            assert other in FLOOR, f"{module} imports {other}"
    if module == "functions.plan":
        assert not imports(module)


def test_there_are_no_circles_between_files():
    try:
        TopologicalSorter({module: imports(module) for module in MODULES}).prepare()
    except CycleError as err:
        raise AssertionError(" -> ".join(err.args[1])) from None


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_files_and_functions_are_of_a_size_that_one_reads(path):
    text = path.read_text()
    assert text.count("\n") <= LONGEST_FILE
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno - node.lineno < LONGEST_FUNCTION, node.name


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_docstrings_say_what_is_done_and_never_begin_with_what(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            assert not re.match(r"(What|Those|Who|Whence)\b", ast.get_docstring(node) or ""), node


def load_all():
    load_rooms()
    import runners.picture  # noqa: F401


def test_every_part_of_the_program_states_its_facts():
    load_all()
    assert {"sampler", "loss", "network", "data set", "metric", "process", "picture mode"} <= {
        *KINDS
    }
    for registry in KINDS.values():
        assert registry.parts
        for part in registry.parts.values():
            assert part.facts.title, part
            assert not part.facts.paper or part.facts.paper in papers.entries(), part
            for key, parameter in part.options.items():
                assert parameter.annotation is not parameter.empty, (part, key)


def test_every_entry_of_the_bibliography_is_cited_by_a_part():
    load_all()
    cited = {p.facts.paper for registry in KINDS.values() for p in registry.parts.values()}
    others = {"2206.00927", *GUIDANCE}  # DPM-Solver: a basis of its successor
    assert papers.entries().keys() - cited <= others
