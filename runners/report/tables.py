"""Tables of a report as files: report.csv of every cell, report.md and report.tex of means."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from typing import Any

from runners.record.cells import Cell
from runners.report import convergence_tables
from runners.report.comparison import Comparison, Doc, Metric
from runners.report.convergence import Convergence
from runners.report.document import sentence
from runners.report.entries import averaged, digits_of, entries, plain
from runners.report.wording import count, steps_title

HEAD = (
    *("sweep", "doc", "label", "sampler", "grid", "clip", "eps_scale", "steps", "steps_run"),
    *("nfe", "seed", "n_samples"),
)
TAIL = (
    *("seconds", "seconds_per_image", "weights_kind", "weights_sha256", "training_step"),
    *("device", "date"),
)
LATEX = {
    **{char: f"\\{char}" for char in "&%$#_{}"},
    **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"},
    **{"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}"},
    **{"±": r"$\pm$", "≈": r"$\approx$"},
}
Row = tuple[str, str, list[tuple[str, str, bool]]]  # doc, sampler, (value, NFE, whether bold)


def as_csv(comparison: Comparison) -> str:
    """One row per cell, with every value that was measured."""
    cells = [(doc, cell) for doc in comparison.docs for cell in doc.cells]
    labels = list(dict.fromkeys(label for _, cell in cells for label in cell.measured.figures))
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow([*HEAD, *labels, *TAIL])
    for doc, cell in cells:
        known, figures = _known(doc, cell), cell.measured.figures
        row = [known[name] for name in HEAD] + [figures.get(label) for label in labels]
        writer.writerow([*row, *(known[name] for name in TAIL)])
    return buffer.getvalue()


def _known(doc: Doc, cell: Cell) -> dict[str, Any]:
    recipe = cell.measured.recipe
    return {
        **vars(cell),
        **vars(cell.measured),
        **{"sweep": doc.sweep.settings.name, "label": doc.label},
        **{"clip": recipe.sampler.get("clip"), "eps_scale": recipe.scale},
        **{"weights_kind": recipe.average, "weights_sha256": recipe.weights},
        "training_step": recipe.training_step,
    }


def as_markdown(comparison: Comparison, speed: Convergence | None) -> str:
    """The verdict, the tables of curves, and one table per metric of all that is no snapshot."""
    parts, ends = [markdown_escape(sentence(comparison, speed))], comparison.ends
    parts += _of_curves(speed) if speed else ()
    parts += _of_metrics(ends) if ends else ()
    return "\n\n".join(parts) + "\n"


def _of_metrics(comparison: Comparison) -> Iterator[str]:
    for metric in comparison.metrics:
        yield f"**{markdown_escape(metric.label)}** {_explained(comparison, metric)}"
        lines = [["doc", "sampler", *map(steps_title, comparison.steps)]]
        for doc, sampler, values in _rows(comparison, metric):
            cells = [markdown_escape(doc), markdown_escape(sampler)]
            for text, nfe, bold in values:
                value = f"**{text}**" if bold else text
                cells.append(f"{value} ({nfe})" if nfe else value)
            lines.append(cells)
        yield _markdown(lines)


def _of_curves(speed: Convergence) -> Iterator[str]:
    """Tables of quality by images seen, and of the ratios of images."""
    distance = speed.comparison.distance
    digits = digits_of(speed.comparison, distance)
    for one in speed.settings:
        title = f"{distance.label} by images seen, {one.sampler}, {steps_title(one.steps)}"
        yield f"**{markdown_escape(title)}** (mean over runs; in brackets the lowest and highest)"
        yield _markdown([_in_brackets(row) for row in convergence_tables.values(one, digits)])
        if rows := [_in_brackets(row) for row in convergence_tables.ratios(one, digits)]:
            base = markdown_escape(one.curves[0].label)
            yield f"**Images for equal quality, against the baseline {base}**"
            yield _markdown(rows)


def _in_brackets(row: Sequence[convergence_tables.Cell]) -> list[str]:
    return [
        markdown_escape(f"{text} ({'; '.join(below)})" if below else text) for text, *below in row
    ]


def _markdown(lines: Sequence[Sequence[str]]) -> str:
    """A table of a head and rows of escaped text."""
    head, *rows = [f"| {' | '.join(cells)} |" for cells in lines]
    return "\n".join([head, "|---" * len(lines[0]) + "|", *rows])


def as_latex(comparison: Comparison) -> str:
    """One table per metric for a document that loads booktabs."""
    return "% needs \\usepackage{booktabs}\n" + "\n".join(
        _latex(comparison, metric) for metric in comparison.metrics
    )


def _latex(comparison: Comparison, metric: Metric) -> str:
    lines = []
    for doc, sampler, values in _rows(comparison, metric):
        row = [latex_escape(doc), latex_escape(sampler)]
        for text, nfe, bold in values:
            value = latex_escape(text)
            value = f"\\textbf{{{value}}}" if bold else value
            row.append(f"{value} \\scriptsize({nfe})" if nfe else value)
        lines.append(" & ".join(row) + r" \\")
    titles = map(steps_title, comparison.steps)
    head = " & ".join(["doc", "sampler", *map(latex_escape, titles)])
    body = "\n    ".join(lines)
    caption = latex_escape(f"{metric.label} {_explained(comparison, metric)}")
    return (
        "\\begin{table}\n"
        "  \\centering\n"
        f"  \\caption{{{caption}}}\n"
        f"  \\begin{{tabular}}{{ll{'r' * len(comparison.steps)}}}\n"
        f"    \\toprule\n    {head} \\\\\n    \\midrule\n"
        f"    {body}\n"
        "    \\bottomrule\n  \\end{tabular}\n\\end{table}\n"
    )


def _explained(comparison: Comparison, metric: Metric) -> str:
    shown = entries(comparison, metric)
    marks = {entry.mark for entry in shown.values()}
    words = [*filter(None, [metric.direction]), averaged(shown)]
    words += [f"grid {comparison.grids[0]}"] if len(comparison.grids) == 1 else []
    words.append("network evaluations per image in brackets")
    words += ["bold: the best of its column, whatever it costs"] if "best" in marks else []
    words += ["≈: not told apart from it at 95 %"] if "tie" in marks else []
    return f"({'; '.join(words)})"


def _rows(comparison: Comparison, metric: Metric) -> Iterator[Row]:
    digits, shown = digits_of(comparison, metric), entries(comparison, metric)
    for doc, sampler in comparison.lines:
        values = []
        for steps in comparison.steps:
            entry = shown.get((doc, sampler, steps))
            if entry is None:
                values.append(("-", "", False))
                continue
            text = plain(entry.stat, digits) + (" ≈" if entry.mark == "tie" else "")
            nfe = count(comparison.at[doc, sampler, steps].nfe)
            cost = f"{nfe}, {entry.seeds}" if entry.seeds else nfe
            values.append((text, cost, entry.mark == "best"))
        yield doc, sampler, values


def latex_escape(text: str) -> str:
    """Text as LaTeX shows it."""
    return "".join(LATEX.get(char, char) for char in text)


def markdown_escape(text: str) -> str:
    """Text as Markdown shows it, also inside a table."""
    return re.sub(r"([\\`*_{}\[\]<>|&])", r"\\\1", text)
