"""Pieces of HTML. Every text from outside goes through `escape`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape

from runners.report.statistics import Stat
from runners.report.wording import count

__all__ = [
    *("code", "details", "escape", "evaluations", "figure", "named", "note", "number"),
    *("section", "spread", "table"),
]
NONE = '<span class="none">–</span>'  # an empty place in a table


def section(name: str, title: str, *parts: str) -> str:
    """A section; the document's contents link to its name."""
    return f'<section id="{name}"><h2>{escape(title)}</h2>{"".join(parts)}</section>'


def note(text: str) -> str:
    """A paragraph in small print. text: HTML."""
    return f'<p class="note">{text}</p>'


def figure(chart: str, caption: str = "") -> str:
    """A chart with its caption (HTML)."""
    below = f"<figcaption>{caption}</figcaption>" if caption else ""
    return f"<figure>{chart}{below}</figure>"


def details(summary: str, body: str, is_open: bool = False) -> str:
    """A block to unfold. summary, body: HTML."""
    state = " open" if is_open else ""
    return f"<details{state}><summary>{summary}</summary>{body}</details>"


def code(text: str) -> str:
    """A block of plain text to copy."""
    return f'<pre tabindex="0">{escape(text)}</pre>'


def table(head: Sequence[str], rows: Iterable[Sequence[str]], kind: str = "") -> str:
    """A table that scrolls sideways where it must. The first cell of a row is its heading; all
    cells are HTML.
    """
    top = "".join(f'<th scope="col">{cell}</th>' for cell in head)
    body = "".join(
        f'<tr><th scope="row">{first}</th>{"".join(f"<td>{cell}</td>" for cell in rest)}</tr>'
        for first, *rest in rows
    )
    return (
        f'<div class="wide" tabindex="0"><table class="{kind}"><thead><tr>{top}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def number(value: float, digits: int) -> str:
    """A number; a dash for none."""
    return f"{value:,.{digits}f}" if math.isfinite(value) else "–"


def spread(stat: Stat, digits: int) -> str:
    """Mean and, from two seeds on, standard deviation."""
    text = number(stat.mean, digits)
    return f"{text} ± {number(stat.std, digits)}" if math.isfinite(stat.std) else text


def evaluations(nfe: float, more: str = "") -> str:
    """`NFE 19` in small print, with `more` below it."""
    below = f'<span class="nfe few">{more}</span>' if more else ""
    return f'<span class="nfe">NFE {count(nfe)}</span>{below}'


def named(doc: str, sampler: str) -> str:
    """A sampler with its doc above it, where a doc is given."""
    above = f'<span class="doc">{escape(doc)}</span>' if doc else ""
    return f"{above}{escape(sampler)}"
