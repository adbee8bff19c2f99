"""Papers behind the parts that a comparison used, as BibTeX and in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, get_args

from configs import papers
from configs.parts import Part, Registry
from configs.schema.conditions import read_guidance
from configs.schema.options import registry
from configs.schema.sections import PLUGS
from configs.values import OneOf
from runners.report.comparison import Comparison, Doc

Named = tuple[Part[Any, Any], str]  # a part, and how it was named
# Section of a run's config -> key that names a part, kind of the part.
NAMED = {key: PLUGS[key] for key in ("loss", "diffusion", "model", "data")}
NAMED["evaluation"] = ("features", "feature extractor")
# Guidance is no part: the papers behind what a recipe says of it.
GUIDANCE = {
    **{"2207.12598": "guidance", "2404.07724": "guidance interval", "2406.02507": "guide"},
    "2305.08891": "guidance rescale",
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
    for doc in comparison.docs:
        for number in _guidance(doc):
            found.setdefault(Paper(number, ""), [GUIDANCE[number]])
    return found


def _guidance(doc: Doc) -> Iterator[str]:
    """Papers behind the guidance of a doc's images."""
    guidance = str(doc.recipe.guidance or "")
    if guidance and not doc.recipe.guide:
        yield "2207.12598"
    if guidance and not (asked := read_guidance(guidance)).everywhere:
        yield "2404.07724"
    if guidance and asked.rescale:
        yield "2305.08891"
    if doc.recipe.guide:
        yield "2406.02507"


def _parts(comparison: Comparison) -> Iterator[Named]:
    """Parts that were used. Names that no part here has are left out: they come from an older
    program, or from a file that was not imported.
    """
    for doc in comparison.docs:
        yield from _of_doc(doc)
    for cell in comparison.cells:
        yield from _found("sampler", cell.measured.recipe.sampler.get("name"), cell.sampler)
        yield from _found("time grid", cell.grid)
    for metric in comparison.metrics:
        yield from _found("metric", metric.name, metric.label)


def _of_doc(doc: Doc) -> Iterator[Named]:
    for section, (key, kind) in NAMED.items():
        values = doc.run.section(section)
        for part, shown in _found(kind, values.get(key)):
            yield part, shown
            yield from _inside(part, values)
    training, optim = doc.run.section("training"), doc.run.section("optim")
    yield from _found("density of times", training.get("times"))
    yield from _found("loss weight", training.get("weight"))
    yield from _found("learning-rate anneal", optim.get("anneal"))
    yield from _found("eps scale", doc.recipe.scale)


def _inside(part: Part[Any, Any], values: Mapping[str, Any]) -> Iterator[Named]:
    """Parts that are options of a part, such as the noise schedule of a process."""
    for key, option in part.options.items():
        for mark in get_args(option.annotation)[1:]:
            if isinstance(mark, OneOf) and isinstance(mark.names, Registry):
                names = [key, *(old for old, new in part.facts.keys.items() if new == key)]
                chosen = next((values[name] for name in names if name in values), option.default)
                yield from _found(mark.names.kind, chosen)


def _found(kind: str, spec: Any, shown: str = "") -> Iterator[Named]:
    """The part of a spec such as `karras:5`."""
    if isinstance(spec, str) and (found := registry(kind).resolve(spec.partition(":")[0])):
        yield found[0], shown or spec


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
