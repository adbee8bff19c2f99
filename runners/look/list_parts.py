"""Lists of parts, read off their facts: --list_samplers and --list_parts."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Any

from configs import papers, values
from configs.parts import KINDS, Part, Registry
from configs.schema.options import load_rooms
from functions.parts import GRIDS, SAMPLERS, SCALES

WIDTH = 100  # columns of a list


def list_samplers() -> Iterator[str]:
    """List samplers with order and cost, time grids and eps scales, line by line."""
    load_rooms()
    rows = [("name", "title", "paper", "order", "NFE for S steps")]
    for name, part in SAMPLERS.parts.items():
        facts = part.facts
        rows.append((name, facts.title, facts.paper, facts.order, facts.nfe))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
        if row[0] in SAMPLERS:
            yield from _options(SAMPLERS.parts[row[0]])
    yield from _aliases(SAMPLERS)
    for flag, registry in (("--skip_type", GRIDS), ("--eps_scale", SCALES)):
        yield f"\n{registry.kind}s ({flag})"
        yield from _list(registry)


def list_parts() -> Iterator[str]:
    """List everything that a config or a flag may name, with options, ranges and papers."""
    load_rooms()
    for kind, registry in KINDS.items():
        yield f"\n{kind}"
        yield from _list(registry)
    cited = {p.facts.paper for registry in KINDS.values() for p in registry.parts.values()}
    yield "\npapers"
    for number in sorted(filter(None, cited)):
        yield f"{number}  {papers.words(number)}"


def _list(registry: Registry[Any, Any]) -> Iterator[str]:
    width = max(map(len, registry))
    for name, part in registry.parts.items():
        paper = f" ({part.facts.paper})" if part.facts.paper else ""
        yield f"{name.ljust(width)}  {part.facts.title}{paper}"
        yield from _options(part)
    yield from _aliases(registry)


def _aliases(registry: Registry[Any, Any]) -> Iterator[str]:
    for name, part in registry.parts.items():
        for alias, options in part.facts.aliases.items():
            yield f"{alias}  another name of {':'.join(filter(None, (name, options)))}"


def _options(part: Part[Any, Any]) -> Iterator[str]:
    """`    :order=3 (a whole number from 0 to 3)  :variable=t (t, rho or lambda)`."""
    shown = []
    for key, parameter in part.options.items():
        default = "" if parameter.default is parameter.empty else values.show(parameter.default)
        shown.append(f":{key}={default} ({values.words(parameter.annotation)})")
    lines = textwrap.wrap("  ".join(shown), WIDTH, break_long_words=False)
    yield from (f"    {line}" for line in lines)
