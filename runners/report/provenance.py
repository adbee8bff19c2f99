"""The section of a report that says where its numbers come from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import yaml

from runners.record.recipe import CONDITIONS
from runners.record.sweep_folder import Sweep
from runners.report import markup
from runners.report.comparison import Comparison, Doc
from runners.report.markup import escape


def section(comparison: Comparison) -> str:
    """Data, weights, samplers, software, commands and the resolved configs."""
    docs = comparison.runs
    return markup.section(
        "provenance",
        "Provenance",
        "<h3>Measured against</h3>",
        _pairs(_data(comparison)),
        "<h3>Weights</h3>",
        *(_pairs(_weights(doc), doc.label) for doc in docs),
        "<h3>Options of the samplers</h3>",
        _pairs(_samplers(comparison)),
        "<h3>Settings and software</h3>",
        *(_pairs(_sweep(sweep), sweep.settings.name) for sweep in comparison.sweeps),
        "<h3>Commands</h3>",
        markup.code("\n".join(commands(comparison)) or "unknown"),
        *_differences(comparison),
        "<h3>Resolved configs</h3>",
        *(
            markup.details(escape(doc.label), markup.code(_yaml(doc.run.config)))
            for doc in docs
            if doc.run.config
        ),
    )


def commands(comparison: Comparison) -> list[str]:
    """Distinct command lines of the cells."""
    found = (cell.measured.command for cell in comparison.cells)
    return list(dict.fromkeys(command for command in found if command))


def _data(comparison: Comparison) -> dict[str, Any]:
    known = comparison.dataset
    return {
        "data set": known.get("dataset"),
        "real images": known.get("images"),
        "fingerprint of the data": known.get("fingerprint"),
        "feature extractor": known.get("extractor"),
        "SHA-256 of the extractor": known.get("extractor_sha256"),
        "samples per cell": comparison.settings.n_samples,
        "KID subset size": known.get("kid_subset_size"),
        "metrics": ", ".join(metric.label for metric in comparison.metrics),
    }


def _weights(doc: Doc) -> dict[str, Any]:
    run = doc.run
    return {
        "file": run.source,
        "average": run.average,
        "training step": run.training_step,
        "SHA-256 of the weights": run.weights,
        "loss": _inline(run.section("loss")),
        "eps scale": doc.recipe.scale,
    }


def _samplers(comparison: Comparison) -> dict[str, Any]:
    """All options of every sampler, defaults included."""
    found: dict[str, list[str]] = {}
    for cell in comparison.cells:
        options = dict(cell.measured.recipe.sampler)
        clipped = ", clipped" if options.pop("clip", False) else ""
        options.pop("name", None)
        texts = found.setdefault(f"{cell.sampler}{clipped}", [])
        texts.append(", ".join(f"{key}={value}" for key, value in options.items()) or "none")
    return {name: _distinct(texts) for name, texts in found.items()}


def _sweep(sweep: Sweep) -> dict[str, Any]:
    results, recipe = [cell.measured for cell in sweep.cells], sweep.settings.recipe
    dates = sorted(result.date for result in results if result.date)
    files = {
        f"{file['file']} (SHA-256 {file['sha256'][:16]})": None
        for result in results
        for file in result.recipe.imports or ()
    }
    return {
        "folder": sweep.folder,
        "cells": len(sweep.cells),
        "seeds": ", ".join(map(str, sorted({cell.seed for cell in sweep.cells}))),
        "eps scale": recipe.scale,
        **{key: found for key in CONDITIONS if (found := getattr(recipe, key)) is not None},
        "precision": recipe.precision,
        "TF32": recipe.tf32,
        "scaling of the data": _inline(recipe.scaling or {}),
        "imports": _distinct(files),
        "device": _distinct(result.device for result in results),
        "processes": _distinct(result.processes for result in results),
        "versions": _distinct(_inline(result.versions or {}) for result in results),
        "cells finished": " to ".join(dict.fromkeys((dates[0], dates[-1]))) if dates else None,
    }


def _differences(comparison: Comparison) -> list[str]:
    """Table of the config keys in which the docs differ."""
    docs = comparison.runs
    flat = [dict(_flat(doc.run.config)) for doc in docs]
    keys = list(dict.fromkeys(key for values in flat for key in values))
    rows = [
        [f"<code>{escape(key)}</code>", *(escape(str(values.get(key, "–"))) for values in flat)]
        for key in keys
        if len({str(values.get(key)) for values in flat}) > 1
    ]
    if not rows:
        return []
    head = ["", *(escape(doc.label) for doc in docs)]
    return ["<h3>Differences between the docs' configs</h3>", markup.table(head, rows)]


def _flat(config: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    for key, value in config.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _pairs(values: Mapping[str, Any], title: str = "") -> str:
    rows = "".join(
        f"<dt>{escape(key)}</dt><dd>{escape(f'{value:,}' if type(value) is int else str(value))}"
        "</dd>"
        for key, value in values.items()
        if value not in (None, "")
    )
    head = f"<h4>{escape(title)}</h4>" if title else ""
    return f"{head}<dl>{rows}</dl>"


def _inline(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in values.items())


def _distinct(values: Iterable[Any]) -> str:
    return "; ".join(dict.fromkeys(str(value) for value in values if value not in (None, "")))


def _yaml(config: Mapping[str, Any]) -> str:
    return yaml.safe_dump(config, sort_keys=False, allow_unicode=True)
