"""Where the figures come from, and what to be careful about."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from typing import Any

import yaml

from runners.report import markup, missing
from runners.report.markup import escape
from runners.report.study import Doc, Study

FULL = 50_000  # samples of a figure that compares with published ones


def warnings(study: Study) -> list[str]:
    """What a reader of the figures must know, plain text, gravest first."""
    found = []
    for sweep in study.sweeps:
        if text := missing.warning(sweep):
            found.append(text if len(study.sweeps) == 1 else f"{sweep.name}: {text}")
    lost = sum(
        not math.isfinite(cell.figures.get(study.distance.label, math.nan))
        for sweep in study.sweeps
        for cell in sweep.cells
    )
    if lost:
        found.append(f"{lost} cells have no finite {study.distance.label}; means leave them out")
    n = study.meta.get("n_samples")
    if isinstance(n, int) and n < FULL:
        found.append(
            f"{n:,} samples per cell, fewer than {FULL:,}: distances are biased upwards and do not "
            "compare with published ones"
        )
    if study.dataset.get("extractor") != "inception":
        found.append(
            f"features: {study.dataset.get('extractor')}, not the published Inception network; "
            f"{study.distance.label} compares only with itself"
        )
    raw = [doc.label for doc in study.docs if str(doc.info.get("weights_kind")) == "raw"]
    if raw:
        found.append(f"raw weights, not their moving average: {', '.join(raw)}")
    if any(sweep.meta.get("tf32") for sweep in study.sweeps):
        found.append("TF32 is on: matrix products are rounded to 10 bits of mantissa")
    return found + _of_cells(study)


def _of_cells(study: Study) -> list[str]:
    """The cells' own warnings, each once, with the number of cells that have it."""
    said: Counter[str] = Counter()
    for sweep in study.sweeps:
        for cell in sweep.cells:
            said.update(set(map(str, cell.record.get("warnings") or [])))
    return [f"{text} (in {times:,} cells)" for text, times in said.most_common()]


def warnings_html(study: Study) -> str:
    """The warnings as a list; empty where there are none."""
    found = warnings(study)
    items = "".join(f"<li>{escape(text)}</li>" for text in found)
    return f'<ul class="warnings">{items}</ul>' if items else ""


def section(study: Study) -> str:
    """Warnings, data, weights, software, commands and the resolved configs."""
    return markup.section(
        "provenance",
        "Provenance",
        "<h3>Measured against</h3>",
        _pairs(_data(study)),
        "<h3>Weights</h3>",
        *(_pairs(_weights(doc), doc.label) for doc in study.docs),
        "<h3>Options of the samplers</h3>",
        _pairs(_samplers(study)),
        "<h3>Settings and software</h3>",
        *(_pairs(_sweep(study, i), sweep.name) for i, sweep in enumerate(study.sweeps)),
        "<h3>Commands</h3>",
        markup.code("\n".join(commands(study)) or "unknown"),
        *_differences(study),
        "<h3>Resolved configs</h3>",
        *(
            markup.details(escape(doc.label), markup.code(_yaml(doc.config)))
            for doc in study.docs
            if doc.config
        ),
    )


def commands(study: Study) -> list[str]:
    """The distinct command lines behind the cells."""
    found = (c.record.get("command") for sweep in study.sweeps for c in sweep.cells)
    return list(dict.fromkeys(str(command) for command in found if command))


def _data(study: Study) -> dict[str, Any]:
    known = study.dataset
    return {
        "data set": known.get("dataset"),
        "real images": known.get("images"),
        "fingerprint of the data": known.get("fingerprint"),
        "feature extractor": known.get("extractor"),
        "SHA-256 of the extractor": known.get("extractor_sha256"),
        "samples per cell": study.meta.get("n_samples"),
        "KID subset size": known.get("kid_subset_size"),
        "figures": ", ".join(metric.label for metric in study.metrics),
    }


def _weights(doc: Doc) -> dict[str, Any]:
    return {
        "file": doc.info.get("weights"),
        "kind": doc.info.get("weights_kind"),
        "training step": doc.info.get("training_step"),
        "SHA-256 of the weights": doc.info.get("weights_sha256"),
        "loss": _inline(doc.config.get("loss")),
        "eps scale": doc.eps_scale,
    }


def _samplers(study: Study) -> dict[str, Any]:
    """All options of every sampler, defaults included."""
    found: dict[str, list[str]] = {}
    for sweep in study.sweeps:
        for cell in sweep.cells:
            options = cell.record.get("options")
            if options is not None:
                name = cell.sampler + (", clipped" if cell.clip else "")
                texts = found.setdefault(name, [])
                texts.append(", ".join(f"{k}={v}" for k, v in options.items()) or "none")
    return {name: _distinct(texts) for name, texts in found.items()}


def _sweep(study: Study, index: int) -> dict[str, Any]:
    sweep = study.sweeps[index]
    records = [cell.record for cell in sweep.cells]
    dates = sorted(str(r["date"]) for r in records if r.get("date"))
    return {
        "folder": sweep.folder,
        "cells": len(sweep.cells),
        "seeds": ", ".join(map(str, sorted({cell.seed for cell in sweep.cells}))),
        "config seed": sweep.meta.get("seed"),
        "eps scale": sweep.meta.get("eps_scale"),
        "precision": sweep.meta.get("precision"),
        "TF32": sweep.meta.get("tf32"),
        "scaling of the data": _inline(sweep.meta.get("scaling")),
        "device": _distinct(r.get("device") for r in records),
        "processes": _distinct(r.get("processes") for r in records),
        "versions": _distinct(_inline(r.get("versions")) for r in records),
        "cells finished": " to ".join(dict.fromkeys((dates[0], dates[-1]))) if dates else None,
    }


def _differences(study: Study) -> list[str]:
    """A table of the config keys in which the docs differ."""
    flat = [dict(_flat(doc.config)) for doc in study.docs]
    keys = list(dict.fromkeys(key for values in flat for key in values))
    rows = [
        [f"<code>{escape(key)}</code>", *(escape(str(values.get(key, "–"))) for values in flat)]
        for key in keys
        if len({str(values.get(key)) for values in flat}) > 1
    ]
    if not rows:
        return []
    head = ["", *(escape(doc.label) for doc in study.docs)]
    return ["<h3>What the docs' configs differ in</h3>", markup.table(head, rows)]


def _flat(config: dict[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    for key, value in config.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _pairs(values: dict[str, Any], title: str = "") -> str:
    rows = "".join(
        f"<dt>{escape(key)}</dt><dd>{escape(f'{value:,}' if type(value) is int else str(value))}"
        "</dd>"
        for key, value in values.items()
        if value not in (None, "")
    )
    head = f"<h4>{escape(title)}</h4>" if title else ""
    return f"{head}<dl>{rows}</dl>"


def _inline(values: Any) -> str:
    if not isinstance(values, dict):
        return "" if values is None else str(values)
    return ", ".join(f"{key} {value}" for key, value in values.items())


def _distinct(values: Iterable[Any]) -> str:
    return "; ".join(dict.fromkeys(str(value) for value in values if value not in (None, "")))


def _yaml(config: dict[str, Any]) -> str:
    return yaml.safe_dump(config, sort_keys=False, allow_unicode=True)
