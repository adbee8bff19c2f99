"""Papers behind the parts that a comparison used, as BibTeX and in words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, get_args

from configs import papers
from configs.parts import Part, Registry
from configs.values import OneOf
from datasets.parts import SOURCES
from functions.parts import GRIDS, LOSSES, METRICS, PROCESSES, SAMPLERS, SCALES
from models.parts import EXTRACTORS, NETWORKS
from runners.report.comparison import Comparison, Doc

# Parts that a run's config names: (section, key of the name).
NAMED: dict[tuple[str, str], Registry[Any, Any]] = {
    ("loss", "name"): LOSSES,
    ("diffusion", "process"): PROCESSES,
    ("model", "name"): NETWORKS,
    ("data", "dataset"): SOURCES,
    ("evaluation", "features"): EXTRACTORS,
}


class Paper(NamedTuple):
    """A paper. number: its arXiv number, "" where it has none; own: the entry of the part that
    names it, for a paper that papers.bib does not hold.
    """

    number: str
    own: str


def used(comparison: Comparison) -> dict[Paper, list[str]]:
    """Every paper with the parts that it stands behind, in words."""
    found: dict[Paper, list[str]] = {}
    for part, shown in _parts(comparison):
        if part.facts.paper or part.facts.bibtex:
            number = part.facts.paper
            paper = Paper(number, "" if number in papers.entries() else part.facts.bibtex)
            reasons = found.setdefault(paper, [])
            if (reason := f"{part.kind} {shown}") not in reasons:
                reasons.append(reason)
    return found


def _parts(comparison: Comparison) -> Iterator[tuple[Part[Any, Any], str]]:
    """(part, how it was named). Names that no part here has are left out: they come from an older
    program, or from a file that was not imported.
    """
    for doc in comparison.docs:
        yield from _of_doc(doc)
    for cell in comparison.cells:
        sampler = str(cell.measured.recipe.sampler.get("name"))
        yield from _found(SAMPLERS, sampler, cell.sampler)
        yield from _found(GRIDS, _head(cell.grid), cell.grid)
    for metric in comparison.metrics:
        yield from _found(METRICS, metric.name, metric.label)


def _of_doc(doc: Doc) -> Iterator[tuple[Part[Any, Any], str]]:
    for (section, key), registry in NAMED.items():
        values = doc.run.section(section)
        for part, shown in _found(registry, values.get(key)):
            yield part, shown
            yield from _inside(part, values)
    yield from _found(SCALES, _head(doc.recipe.scale), doc.recipe.scale)


def _inside(part: Part[Any, Any], values: dict[str, Any]) -> Iterator[tuple[Part[Any, Any], str]]:
    """Parts that are options of a part, such as the noise schedule of a process."""
    for key, option in part.options.items():
        for mark in get_args(option.annotation)[1:]:
            if isinstance(mark, OneOf) and isinstance(mark.names, Registry):
                names = [key, *(old for old, new in part.facts.keys.items() if new == key)]
                chosen = next((values[n] for n in names if n in values), option.default)
                yield from _found(mark.names, chosen)


def _found(
    registry: Registry[Any, Any], name: Any, shown: str = ""
) -> Iterator[tuple[Part[Any, Any], str]]:
    if isinstance(name, str) and (found := registry.resolve(name)):
        yield found[0], shown or name


def _head(spec: str) -> str:
    """Name of the part in a spec such as `karras:5`."""
    return spec.partition(":")[0]


def bibtex(comparison: Comparison) -> str:
    """One entry per paper."""
    return "\n\n".join(papers.bibtex(*paper) for paper in used(comparison))


def words(comparison: Comparison) -> list[str]:
    """`Ho et al.: Denoising ..., arXiv 2006.11239: process vp` for every paper, plain text."""
    return [
        f"{papers.words(*paper)}{f', arXiv {paper.number}' if paper.number else ''}: "
        + ", ".join(reasons)
        for paper, reasons in used(comparison).items()
    ]
