"""The HTML document: one file that needs no other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from runners.report import (
    citations,
    convergence_section,
    gain_section,
    markup,
    provenance,
    quality,
    reader_warnings,
    sample_sections,
    training_section,
    verdict,
)
from runners.report.comparison import Comparison
from runners.report.convergence import Convergence
from runners.report.inline_sheets import Images
from runners.report.line_styles import variables
from runners.report.markup import escape
from runners.report.schemes import name_of

CSS = Path(__file__).with_name("report.css")


def document(
    comparison: Comparison,
    speed: Convergence | None,
    runs: Mapping[str, Path],
    images: Images | None,
    axis: str = "steps",
) -> str:
    """The whole file. speed: of the comparison's snapshots; runs: folders of the docs' runs;
    images: training images by index; axis: of the training curves.
    """
    parts, ends = [], comparison.ends
    if speed:
        parts = [convergence_section.section(speed), sample_sections.progress(speed.comparison)]
    if ends:
        parts += [
            verdict.section(ends),
            quality.evaluations(ends),
            quality.time(ends),
            gain_section.section(ends),
            sample_sections.samples(ends),
        ]
    parts += [
        training_section.section(comparison, runs, axis),
        sample_sections.neighbours(ends, images) if ends else "",
        provenance.section(comparison),
        _citations(comparison),
    ]
    title = " and ".join(dict.fromkeys(sweep.settings.name for sweep in comparison.sweeps))
    compared = "samplers compared" if ends else "quality against images seen"
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{escape(title)}: {compared}</title><style>{_css()}</style></head>"
        f"<body><header><h1>{escape(title)}</h1>{_facts(comparison)}"
        f'<p class="verdict">{escape(sentence(comparison, speed))}</p>'
        f"{reader_warnings.as_html(comparison)}{_contents(parts)}</header>"
        f"<main>{''.join(parts)}</main></body></html>\n"
    )


def sentence(comparison: Comparison, speed: Convergence | None) -> str:
    """The verdict in a sentence or two: how fast runs converge, and the best sampler."""
    found = [convergence_section.sentence(speed)] if speed else []
    return " ".join([*found, *([verdict.sentence(comparison.ends)] if comparison.ends else [])])


def _css() -> str:
    text = CSS.read_text(encoding="utf-8")
    return text.replace("/*LIGHT*/", variables(False)).replace("/*DARK*/", variables(True))


def _facts(comparison: Comparison) -> str:
    """One line: data, and the numbers of docs, samplers, steps, seeds, cells and samples."""
    docs, grids = comparison.runs, comparison.grids
    counted = {
        "doc": len(docs),
        "snapshot": sum(doc.is_snapshot for doc in comparison.docs),
        "sampler": len(comparison.samplers),
        "step count": len([steps for steps in comparison.steps if steps is not None]),
        "seed": len(comparison.seeds),
        "finished cell": len(comparison.cells),
    }
    words = [f"{n:,} {name}{'' if n == 1 else 's'}" for name, n in counted.items() if n]
    if len(docs) == 1:
        words[0] = f"doc {escape(name_of(docs[0]))}"
    words[-1] += f" of {comparison.settings.n_samples:,} samples"
    words += [f"grid {escape(grids[0])}"] if len(grids) == 1 else []
    data = f"{comparison.dataset.get('dataset')}, {'x'.join(map(str, comparison.shape))}"
    return f'<p class="facts">{escape(data)} · {" · ".join(words)}</p>'


def _contents(parts: Sequence[str]) -> str:
    links = []
    for part in filter(None, parts):
        name = part.split('id="', 1)[1].split('"', 1)[0]
        title = part.split("<h2>", 1)[1].split("</h2>", 1)[0]
        links.append(f'<a href="#{name}">{title}</a>')
    return f"<nav>{''.join(links)}</nav>"


def _citations(comparison: Comparison) -> str:
    items = "".join(f"<li>{escape(text)}</li>" for text in citations.words(comparison))
    return markup.section(
        "citations",
        "Please cite",
        markup.note("The papers behind the parts that were used here."),
        f'<ul class="papers">{items}</ul>',
        markup.code(citations.bibtex(comparison)),
    )
