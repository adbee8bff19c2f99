"""What can be sampled with (--list_samplers), what would be (--print_plan); nothing is drawn."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, get_args, get_origin

from configs.schema import specs
from functions.grids import GRIDS
from functions.samplers import SAMPLERS
from functions.scales import SCALES


def list_samplers() -> Iterator[str]:
    """A table of samplers, grids and eps scales, line by line."""
    rows = [("name", "what it is", "paper", "order", "evaluations for S steps")]
    for name, part in SAMPLERS.parts.items():
        rows.append(
            (name, *(getattr(part.facts, key) for key in ("title", "paper", "order", "nfe")))
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
        if row[0] in SAMPLERS:
            yield from _options(row[0], SAMPLERS)
    for name, meaning in specs.ALIASES.items():
        yield f"{name.ljust(widths[0])}  the DDIM repository's name of {meaning}"
    yield from _described("grids (--skip_type)", GRIDS)
    yield from _described("eps scales (--eps_scale)", SCALES)


def _described(title: str, registry: Mapping[str, Callable[..., Any]]) -> Iterator[str]:
    yield ""
    yield title
    width = max(map(len, registry))
    for name, build in registry.items():
        text = " ".join((inspect.getdoc(build) or "").partition("\n\n")[0].split())
        yield f"{name.ljust(width)}  {re.split(r'(?<!et al)[.] ', text)[0].rstrip('.')}"
        yield from _options(name, registry)


def _options(name: str, registry: Mapping[str, Callable[..., Any]]) -> Iterator[str]:
    """`    :order=3  :variable=t (t, rho, lambda)`, nothing for a name without options."""
    shown = []
    for key, known in specs.parse(name, registry).known.items():
        choices = get_args(known.annotation) if get_origin(known.annotation) is Literal else ()
        text = f" ({', '.join(map(str, choices))})" if choices else ""
        shown.append(f":{key}={specs.show(known.default)}{text}")
    if shown:
        yield "    " + "  ".join(shown)
