"""report.csv (every cell), report.md and report.tex (mean and standard deviation over seeds)."""

from __future__ import annotations

import csv
import io
import math
import re

from runners.report.study import Doc, Metric, Study, count, steps_title
from runners.report.verdict import averaged, digits_of, entries, sentence

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
    **{
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "±": r"$\pm$",
        "≈": r"$\approx$",
        "|": r"\textbar{}",
    },
}


def as_csv(study: Study) -> str:
    """One row per cell, with every figure it has."""
    cells = [(doc, cell) for doc in study.docs for cell in doc.cells]
    labels = list(dict.fromkeys(label for _, cell in cells for label in cell.figures))
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow([*HEAD, *labels, *TAIL])
    for doc, cell in cells:
        known = {**cell.record, **_known(doc)}
        row = [known.get(name) for name in HEAD]
        row += [cell.figures.get(label) for label in labels]
        writer.writerow([*row, *(known.get(name) for name in TAIL)])
    return buffer.getvalue()


def _known(doc: Doc) -> dict[str, object]:
    kept = ("weights_kind", "weights_sha256", "training_step")
    return {
        "sweep": doc.sweep.name,
        "label": doc.label,
        "eps_scale": doc.eps_scale,
        **{name: doc.info[name] for name in kept if name in doc.info},
    }


def as_markdown(study: Study) -> str:
    """The verdict and one table per metric, as the page has them."""
    parts = [markdown_escape(sentence(study))]
    for metric in study.metrics:
        parts.append(f"**{markdown_escape(metric.label)}** {_explained(study, metric)}")
        head = ["doc", "sampler", *map(steps_title, study.steps)]
        lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
        for row in _rows(study, metric):
            names = [markdown_escape(name) for name in row[:2]]
            cells = [f"**{text}** ({nfe})" if bold else f"{text} ({nfe})" if nfe else text
                     for text, nfe, bold in row[2]]  # fmt: skip
            lines.append(f"| {' | '.join([*names, *cells])} |")
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def as_latex(study: Study) -> str:
    """One table per metric for a document that loads booktabs."""
    return "% needs \\usepackage{booktabs}\n" + "\n".join(
        _latex(study, metric) for metric in study.metrics
    )


def _latex(study: Study, metric: Metric) -> str:
    lines = []
    for doc, sampler, cells in _rows(study, metric):
        row = [latex_escape(doc), latex_escape(sampler)]
        for text, nfe, bold in cells:
            figure = latex_escape(text)
            figure = f"\\textbf{{{figure}}}" if bold else figure
            row.append(f"{figure} \\scriptsize({nfe})" if nfe else figure)
        lines.append(" & ".join(row) + r" \\")
    head = " & ".join(["doc", "sampler", *(latex_escape(steps_title(s)) for s in study.steps)])
    body = "\n    ".join(lines)
    caption = latex_escape(f"{metric.label} {_explained(study, metric)}")
    return (
        "\\begin{table}\n"
        "  \\centering\n"
        f"  \\caption{{{caption}}}\n"
        f"  \\begin{{tabular}}{{ll{'r' * len(study.steps)}}}\n"
        f"    \\toprule\n    {head} \\\\\n    \\midrule\n"
        f"    {body}\n"
        "    \\bottomrule\n  \\end{tabular}\n\\end{table}\n"
    )


def _explained(study: Study, metric: Metric) -> str:
    better = "lower" if metric.lower_is_better else "higher"
    shown = entries(study, metric.key)
    marks = {entry.mark for entry in shown.values()}
    words = [f"{better} is better", averaged(shown)]
    words += [f"grid {study.grids[0]}"] if len(study.grids) == 1 else []
    words.append("network evaluations per image in brackets")
    words += ["bold: the best of its column, whatever it costs"] if "best" in marks else []
    words += ["≈: not told apart from it at 95 %"] if "tie" in marks else []
    return f"({'; '.join(words)})"


def _rows(
    study: Study, metric: Metric
) -> list[
    tuple[str, str, list[tuple[str, str, bool]]]
]:  # cells: figure, NFE and seeds, whether bold
    digits, shown = digits_of(study, metric.key), entries(study, metric.key)
    rows = []
    for doc, sampler in study.lines:
        cells = []
        for steps in study.steps:
            entry = shown.get((doc, sampler, steps))
            if entry is None:
                cells.append(("-", "", False))
                continue
            stat = entry.stat
            text = f"{stat.mean:.{digits}f}" if math.isfinite(stat.mean) else "-"
            text += f" ± {stat.std:.{digits}f}" if math.isfinite(stat.std) else ""
            text += " ≈" if entry.mark == "tie" else ""
            cost = [count(study.at[doc, sampler, steps].nfe), *filter(None, [entry.seeds])]
            cells.append((text, ", ".join(cost), entry.mark == "best"))
        rows.append((doc, sampler, cells))
    return rows


def latex_escape(text: str) -> str:
    """Text as LaTeX shows it."""
    return "".join(LATEX.get(char, char) for char in text)


def markdown_escape(text: str) -> str:
    """Text as Markdown shows it, also inside a table."""
    return re.sub(r"([\\`*_{}\[\]<>|&])", r"\\\1", text)
