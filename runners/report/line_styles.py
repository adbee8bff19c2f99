"""Styles of lines in charts and legends: colour and marker for one thing, dash for another.

Charts name colours by their light shade. `svg.finish` turns them into CSS variables, so that dark
mode and print show a shade that fits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

# (light, dark) shades that colour-blind people tell apart, after Okabe & Ito.
PALETTE = (
    ("#0072b2", "#5ab4f0"),
    ("#d55e00", "#ff8c4d"),
    ("#00845f", "#2fcf9f"),
    ("#a8457f", "#f29ccb"),
    ("#a87400", "#f5bd45"),
    ("#6a4fb0", "#b9a3f5"),
    ("#2f9ac4", "#a3ddff"),
    ("#66645e", "#c9c6bd"),
)
INK, FAINT, PAPER = "#1b1c1d", "#d7d6d1", "#fefefd"
# Marker -> its outline in a legend, around (0, 0).
MARKERS = {
    "o": "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0 -8 0z",
    "s": "M-3.5 -3.5h7v7h-7z",
    "^": "M0 -4.5L4.5 3.5H-4.5z",
    "D": "M0 -4.8L4.8 0L0 4.8L-4.8 0z",
    "v": "M0 4.5L4.5 -3.5H-4.5z",
    "P": "M-1.6 -4.5h3.2v2.9h2.9v3.2h-2.9v2.9h-3.2v-2.9h-2.9v-3.2h2.9z",
    "p": "M0 -4.6L4.4 -1.4L2.7 3.7H-2.7L-4.4 -1.4z",
    "<": "M-4.5 0L3.5 -4.5V4.5z",
    ">": "M4.5 0L-3.5 -4.5V4.5z",
}
DASHES: tuple[tuple[float, ...], ...] = ((), (4, 1.8), (1.2, 1.5), (6, 1.5, 1.2, 1.5))


@dataclass(frozen=True)
class Style:
    """Style of a line. colour: the light shade; marker: matplotlib's letter; dash: on and off
    lengths; hollow: the marker is filled with paper.
    """

    colour: str = INK
    marker: str = ""
    dash: tuple[float, ...] = ()
    hollow: bool = False

    @property
    def line(self) -> str | tuple[float, tuple[float, ...]]:
        """Matplotlib's linestyle."""
        return (0, self.dash) if self.dash else "-"


def nth_colour(index: int) -> Style:
    """Style of the index-th thing that is told apart by colour and marker; they repeat after 72."""
    markers = list(MARKERS)
    return Style(PALETTE[index % len(PALETTE)][0], markers[index % len(markers)])


def nth_dash(index: int) -> Style:
    """Style of the index-th thing that is told apart by dash."""
    return Style(dash=DASHES[index % len(DASHES)], hollow=index % 2 == 1)


@dataclass(frozen=True)
class Styles:
    """Styles of all (doc, sampler). Of docs and samplers the more numerous take the colours."""

    docs: Sequence[str]
    samplers: Sequence[str]

    @property
    def _docs_coloured(self) -> bool:
        return len(self.docs) > len(self.samplers)

    def __call__(self, doc: str, sampler: str) -> Style:
        one, other = self.docs.index(doc), self.samplers.index(sampler)
        if not self._docs_coloured:
            one, other = other, one
        look, dash = nth_colour(one), nth_dash(other)
        return Style(look.colour, look.marker, dash.dash, dash.hollow)

    def groups(self, lines: Sequence[tuple[str, str]]) -> dict[str, list[tuple[str, str]]]:
        """Lines grouped by what is told apart by dash, under its name."""
        index = 1 if self._docs_coloured else 0
        found: dict[str, list[tuple[str, str]]] = {}
        for line in lines:
            found.setdefault(line[index], []).append(line)
        return found

    def legend(self, dashes: bool = True) -> str:
        """Legend of colours and, if wanted, of dashes where there are several."""
        coloured, dashed = self.samplers, self.docs
        if self._docs_coloured:
            coloured, dashed = dashed, coloured
        entries = [(nth_colour(i), name) for i, name in enumerate(coloured)]
        if dashes and len(dashed) > 1:
            entries += [(nth_dash(i), name) for i, name in enumerate(dashed)]
        return legend(entries)


def legend(entries: Sequence[tuple[Style, str]]) -> str:
    """Legend as HTML; it wraps where it must."""
    items = "".join(f"<li>{_swatch(style)}{escape(name)}</li>" for style, name in entries)
    return f'<ul class="legend">{items}</ul>'


def _swatch(style: Style) -> str:
    colour = variable(style.colour)
    dash = f' stroke-dasharray="{" ".join(f"{d * 2:g}" for d in style.dash)}"' if style.dash else ""
    line = f'<path d="M0 7H30" stroke-width="2"{dash}/>'
    fill = "var(--paper)" if style.hollow else colour
    marker = MARKERS.get(style.marker)
    shape = f'<path d="{marker}" transform="translate(15 7)" fill="{fill}"/>' if marker else ""
    return f'<svg viewBox="0 0 30 14" aria-hidden="true" stroke="{colour}">{line}{shape}</svg>'


def variable(colour: str) -> str:
    """CSS variable of a light shade."""
    named = {INK: "var(--ink)", FAINT: "var(--faint)", PAPER: "var(--paper)"}
    for index, (light, _) in enumerate(PALETTE):
        named[light] = f"var(--c{index})"
    return named[colour]


def variables(dark: bool) -> str:
    """CSS declarations of the palette's variables."""
    return "".join(f"--c{i}:{shades[dark]};" for i, shades in enumerate(PALETTE))
