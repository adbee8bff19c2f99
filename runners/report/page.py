"""The page: one HTML file that needs nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from runners.report import citations, gallery, markup, provenance, sections, verdict
from runners.report.gallery import Images
from runners.report.markup import escape
from runners.report.study import Study
from runners.report.style import variables

CSS = (Path(__file__).parent / "page.css").read_text(encoding="utf-8")


def page(study: Study, runs: dict[str, Path], images: Images | None) -> str:
    """The whole file. runs: folders of the docs' runs; images: training images by index."""
    parts = [
        verdict.section(study),
        sections.distance(study),
        sections.time(study),
        sections.gain(study),
        gallery.samples(study),
        sections.training(study, runs),
        gallery.neighbours(study, images),
        provenance.section(study),
        _citations(study),
    ]
    title = " and ".join(dict.fromkeys(sweep.name for sweep in study.sweeps))
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{escape(title)}: samplers compared</title><style>{_css()}</style></head>"
        f"<body><header><h1>{escape(title)}</h1>{_facts(study)}"
        f'<p class="verdict">{escape(verdict.sentence(study))}</p>'
        f"{provenance.warnings_html(study)}{_contents(parts)}</header>"
        f"<main>{''.join(parts)}</main></body></html>\n"
    )


def _css() -> str:
    return CSS.replace("/*LIGHT*/", variables(False)).replace("/*DARK*/", variables(True))


def _facts(study: Study) -> str:
    cells = sum(len(sweep.cells) for sweep in study.sweeps)
    counted = [
        (len(study.docs), "doc"),
        (len(study.samplers), "sampler"),
        (len([steps for steps in study.steps if steps is not None]), "step count"),
        (len(study.seeds), "seed"),
        (cells, "finished cell"),
    ]
    named = f"doc {escape(study.docs[0].label)}" if len(study.docs) == 1 else ""
    words = [f"{n:,} {name}{'' if n == 1 else 's'}" for n, name in counted]
    words = [named, *words[1:]] if named else words
    n = study.meta.get("n_samples")
    samples = f" of {n:,} samples" if isinstance(n, int) else ""
    grid = f" · grid {escape(study.grids[0])}" if len(study.grids) == 1 else ""
    data = f"{study.dataset.get('dataset')}, {'x'.join(map(str, study.shape))}"
    return f'<p class="facts">{escape(data)} · {" · ".join(words)}{samples}{grid}</p>'


def _contents(parts: Sequence[str]) -> str:
    links = []
    for part in filter(None, parts):
        name = part.split('id="', 1)[1].split('"', 1)[0]
        title = part.split("<h2>", 1)[1].split("</h2>", 1)[0]
        links.append(f'<a href="#{name}">{title}</a>')
    return f"<nav>{''.join(links)}</nav>"


def _citations(study: Study) -> str:
    items = "".join(
        f"<li>{escape(title)}, arXiv {number}: {escape(reasons)}</li>"
        for number, title, reasons in citations.words(study)
    )
    return markup.section(
        "citations",
        "Please cite",
        markup.note("Exactly what was run here."),
        f'<ul class="papers">{items}</ul>',
        markup.code(citations.bibtex(study)),
    )
