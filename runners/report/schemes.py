"""Training schemes: runs whose configs are equal but for their seeds, and what tells them apart."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from os.path import commonprefix
from typing import Any

from runners.record.run_folder import FREE_TO_CHANGE
from runners.record.sweep_settings import Run
from runners.report.comparison import Doc

OWN = ("seed", *(key for key, free in FREE_TO_CHANGE.items() if free is None))
LONGEST = 48  # characters of a label made of settings


@dataclass(frozen=True)
class Scheme:
    """A way to train. label: what it is shown as; runs: its runs by name, each with its snapshots
    by images seen.
    """

    label: str
    runs: dict[str, list[Doc]]


def schemes(docs: Sequence[Doc]) -> list[Scheme]:
    """Group snapshots by run, and runs by what decides how they learn, in the order of the docs."""
    groups: dict[str, dict[str, list[Doc]]] = {}
    settings: dict[str, dict[str, str]] = {}
    for doc in docs:
        found = dict(_settings(doc.run))
        key = json.dumps(found, sort_keys=True)
        settings[key] = found
        groups.setdefault(key, {}).setdefault(name_of(doc), []).append(doc)
    labels = _labels([settings[key] for key in groups], [list(runs) for runs in groups.values()])
    return [
        Scheme(label, {n: sorted(of, key=lambda d: d.run.images_seen) for n, of in runs.items()})
        for label, runs in zip(labels, groups.values(), strict=True)
    ]


def name_of(doc: Doc) -> str:
    """Label of a doc's run: `a` of the snapshot `a:500`."""
    end = f":{doc.run.training_step}" if doc.is_snapshot else ""
    return doc.label.removesuffix(end)


def _settings(run: Run) -> Iterator[tuple[str, str]]:
    """Dotted keys and values of what decides how a run learns."""
    for section, value in run.config.items():
        if section in OWN:
            continue
        if not isinstance(value, Mapping):
            yield section, _show(value)
            continue
        free = FREE_TO_CHANGE.get(section) or ()
        yield from ((f"{section}.{k}", _show(v)) for k, v in value.items() if k not in free)


def _show(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _labels(settings: Sequence[Mapping[str, str]], names: Sequence[Sequence[str]]) -> list[str]:
    """Label of every scheme: the settings that no other has, else the beginning that the names of
    its runs share, else these names.
    """
    labels = []
    for i, own in enumerate(settings):
        others = [one for j, one in enumerate(settings) if j != i]
        unlike = [
            f"{k} {v}" for k, v in own.items() if others and all(o.get(k) != v for o in others)
        ]
        text = ", ".join(unlike)
        labels.append(text if len(text) <= LONGEST else "")
    stems = [commonprefix(list(of)).rstrip("-_./ ") for of in names]
    if len({*stems}) < len(stems):
        stems = [", ".join(of) for of in names]
    return [
        label or stem or ", ".join(of) for label, stem, of in zip(labels, stems, names, strict=True)
    ]
