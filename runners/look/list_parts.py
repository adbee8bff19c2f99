"""Lists of parts, read off their facts: --list_samplers and --list_parts."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import fields
from typing import Any

from configs import papers, values
from configs.parts import KINDS, Facts, Part
from configs.schema.options import load_rooms
from configs.schema.sections import PLUGS

WIDTH = 80  # columns of a list
NAMED = {  # by which key of a config, or flag, a part of a kind is named
    **{kind: f"{section}.{key}" for section, (key, kind) in PLUGS.items()},
    **{"sampler": "--sample_type", "time grid": "--skip_type", "eps scale": "--eps_scale"},
    **{"density of times": "training.times", "loss weight": "training.weight"},
    **{"metric": "evaluation.metrics"},
    **{"feature extractor": "--features", "noise schedule": "diffusion.schedule"},
    "learning-rate anneal": "optim.anneal",
    "picture mode": "--sample --NAME",
}


def list_samplers() -> Iterator[str]:
    """List samplers with order and cost, time grids and eps scales, line by line."""
    yield "NFE: network evaluations for S steps"
    yield from _list("sampler", "time grid", "clip", "eps scale")


def list_parts() -> Iterator[str]:
    """List everything that a config or a flag may name, with options, ranges and papers."""
    load_rooms()
    yield from _list(*KINDS)
    cited = {p.facts.paper for registry in KINDS.values() for p in registry.parts.values()}
    yield "\npapers"
    for number in sorted(filter(None, cited)):
        line = f"{number}  {papers.words(number)}"
        yield from textwrap.wrap(line, WIDTH, subsequent_indent=" " * 12)


def _list(*kinds: str) -> Iterator[str]:
    load_rooms()
    for kind in kinds:
        parts = KINDS[kind].parts
        yield f"\n{kind} ({NAMED[kind]})" if kind in NAMED else f"\n{kind}"
        width = max(map(len, parts), default=0)
        for part in parts.values():
            yield from _part(part, width)
        for part in parts.values():
            for alias, options in part.facts.aliases.items():
                meaning = ":".join(filter(None, (part.name, options)))
                yield f"{alias.ljust(width)}  another name of {meaning}"


def _part(part: Part[Any, Any], width: int) -> Iterator[str]:
    """Name, title and paper; the facts of its kind; its options, as in
    `:order=3 (a whole number from 0 to 3)  :variable=t (t, rho or lambda)`.
    """
    paper = f" ({part.facts.paper})" if part.facts.paper else ""
    yield f"{part.name.ljust(width)}  {part.facts.title}{paper}"
    yield from _wrapped([*_facts(part.facts)])
    keys = {kind for _, kind in PLUGS.values()}
    mark = "" if part.kind in keys else "--" if part.kind == "picture mode" else ":"
    shown = []
    for key, parameter in part.options.items():
        key = part.name if key == getattr(part.facts, "flag", None) else key  # --grid 4x8
        known = parameter.default not in (parameter.empty, "", ())
        default = f"={values.show(parameter.default)}" if known else ""
        shown.append(f"{mark}{key}{default} ({values.words(parameter.annotation)})")
    yield from _wrapped(shown)


def _facts(facts: Facts) -> Iterator[str]:
    """Facts that only this kind states, those that are text, a number or true."""
    common = {fact.name for fact in fields(Facts)}
    for fact in fields(facts):
        value, label = getattr(facts, fact.name), fact.name.replace("_", " ")
        if fact.name not in (*common, "flag") and isinstance(value, str | int) and value:
            yield label if value is True else f"{label.replace('nfe', 'NFE')}: {value}"


def _wrapped(items: Sequence[str]) -> Iterator[str]:
    """Indented lines of items, broken between items where they can be."""
    whole = "  ".join(item.replace(" ", "\0") for item in items)
    for line in textwrap.wrap(whole, WIDTH - 4, break_long_words=False, break_on_hyphens=False):
        yield f"    {line}".replace("\0", " ")
