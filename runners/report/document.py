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
from runners.report.inline_sheets import Images
from runners.report.line_styles import variables
from runners.report.markup import escape

CSS = Path(__file__).with_name("report.css")


def document(comparison: Comparison, runs: Mapping[str, Path], images: Images | None) -> str:
    """The whole file. runs: folders of the docs' runs; images: training images by index."""
    snapshots, ends = comparison.snapshots, comparison.ends
    parts = [convergence_section.section(snapshots)] if snapshots else []
    if ends:
        parts += [
            verdict.section(ends),
            quality.evaluations(ends),
            quality.time(ends),
            gain_section.section(ends),
            sample_sections.samples(ends),
        ]
    parts += [
        training_section.section(comparison, runs),
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
        f'<p class="verdict">{escape(sentence(comparison))}</p>'
        f"{reader_warnings.as_html(comparison)}{_contents(parts)}</header>"
        f"<main>{''.join(parts)}</main></body></html>\n"
    )


def sentence(comparison: Comparison) -> str:
    """The verdict in a sentence or two: how fast runs converge, and the best sampler."""
    snapshots, ends = comparison.snapshots, comparison.ends
    found = [convergence_section.sentence(snapshots)] if snapshots else []
    return " ".join([*found, *([verdict.sentence(ends)] if ends else [])])


def _css() -> str:
    text = CSS.read_text(encoding="utf-8")
    return text.replace("/*LIGHT*/", variables(False)).replace("/*DARK*/", variables(True))


def _facts(comparison: Comparison) -> str:
    """One line: data, and the numbers of docs, samplers, steps, seeds, cells and samples."""
    docs, grids = comparison.docs, comparison.grids
    counted = {
        "doc": len(docs),
        "sampler": len(comparison.samplers),
        "step count": len([steps for steps in comparison.steps if steps is not None]),
        "seed": len(comparison.seeds),
        "finished cell": len(comparison.cells),
    }
    words = [f"{n:,} {name}{'' if n == 1 else 's'}" for name, n in counted.items()]
    if len(docs) == 1:
        words[0] = f"doc {escape(docs[0].label)}"
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
