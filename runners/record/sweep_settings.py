"""sweep.json: what the cells of a sweep share, and which cells were asked for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import PlainValidator

from configs import values
from configs.schema.problems import ConfigError
from configs.values import Count
from runners.record.cells import Cell, Stored, checked
from runners.record.recipe import Recipe

MAIN = "distance"  # the metric by which a report ranks
FORMAT = 2  # of sweep.json; 1 held the settings of the recipe beside each other
RENAMED = {"weights": "source", "weights_sha256": "weights", "weights_kind": "average"}
OF_RUN = ("weights", "average", "training_step", "source")  # what of a recipe is a run's own
# Distances of real images are rounded differently from machine to machine.
ROUNDED = ("real_halves_distance", "same_size_distance")


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run whose weights are sampled. run: its folder; config: of its training; weights (SHA-256),
    average, training_step, source: as a recipe has them. doc: the run's name, where these are the
    weights of one of several snapshots of it; None for the run's weights as such.
    """

    run: str
    config: dict[str, Any]
    weights: str
    average: str | None = None
    training_step: int | None = None
    source: str = ""
    doc: str | None = None

    def __post_init__(self) -> None:
        for name in ("data", "model", "diffusion", "loss", "training", "evaluation"):
            if not isinstance(found := self.section(name), dict):
                raise ValueError(f"config.{name} is {values.show(json.dumps(found))}, no mapping")

    def section(self, name: str) -> dict[str, Any]:
        """Section of the config; empty where there is none."""
        return self.config.get(name) or {}

    @classmethod
    def of(cls, recipe: Recipe, **known: Any) -> Self:
        """The run whose weights this recipe names. known: run, config, doc."""
        return cls(**known, **{name: getattr(recipe, name) for name in OF_RUN})

    @property
    def images_seen(self) -> int:
        """Training images that the weights have seen: steps x images of one update."""
        training = self.section("training")
        per_update = training.get("batch_size", 1) * (training.get("grad_accum") or 1)
        return (self.training_step or 0) * per_update

    @property
    def made_by(self) -> dict[str, Any]:
        """The run's own part of a recipe."""
        return {name: getattr(self, name) for name in OF_RUN}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings that the cells of a sweep share.

    metrics: label by the name of every metric that is measured; MAIN is one of them.
    dataset: what is measured against: data set, extractor, number of real images, ..., and the
    options of the metrics.
    image: (C, H, W); docs: the runs by name; recipe: what all images share.
    plan: every cell that was ever asked for, None where an older program kept none.
    """

    name: str
    n_samples: Count
    metrics: dict[str, str]
    dataset: dict[str, Any]
    image: tuple[Count, Count, Count]
    docs: dict[str, Run]
    plan: list[Annotated[Cell, PlainValidator(Cell.of_key)]] | None = None
    recipe: Stored

    def __post_init__(self) -> None:
        if MAIN not in self.metrics:
            raise ValueError(f"it lacks metrics.{MAIN}")
        if not isinstance(self.dataset.get("fingerprint"), str):
            raise ValueError("it lacks dataset.fingerprint, a text")
        if not self.docs:
            raise ValueError("docs is empty")

    def of_doc(self, doc: str) -> Recipe:
        """Recipe of the images of a doc. Raises ValueError for a doc that is not known."""
        if doc not in self.docs:
            raise ValueError(f"doc {values.show(doc)} is not in sweep.json")
        return replace(self.recipe, **self.docs[doc].made_by)

    def differs(self, other: Settings) -> list[str]:
        """Why cells of two sweeps cannot stand in one folder; self is then, other is now."""
        found = self.recipe.differs(other.recipe)
        for doc in [doc for doc in self.docs if doc in other.docs]:
            own, theirs = (replace(self.recipe, **x.docs[doc].made_by) for x in (self, other))
            if texts := own.differs(theirs):
                hint = " (--sampling.ckpt_id names one)" if len(texts) > 1 else ""
                found.append(f"{doc}: {', '.join(texts)}{hint}")
        then, now = self._measured(), other._measured()
        return found + [
            f"{key} {values.show(value)}, now {values.show(now[key])}"
            for key, value in then.items()
            if value != now.get(key, value)
        ]

    def _measured(self) -> dict[str, Any]:
        """Settings that decide the figures, beside the images."""
        known = {f"dataset.{k}": value for k, value in self.dataset.items() if k not in ROUNDED}
        return {"n_samples": self.n_samples, "image": list(self.image), **known}

    def united(self, other: Settings) -> Settings:
        """These settings with the runs, metrics and cells of another command beside their own."""
        return replace(
            self,
            docs={**self.docs, **other.docs},
            metrics={**self.metrics, **other.metrics},
            plan=list(dict.fromkeys([*(self.plan or []), *(other.plan or [])])),
        )

    def text(self) -> str:
        """Contents of sweep.json."""
        known = {field.name: getattr(self, field.name) for field in fields(self)}
        known["docs"] = {name: asdict(run) for name, run in self.docs.items()}
        known["plan"] = None if self.plan is None else [cell.key for cell in self.plan]
        known["recipe"] = self.recipe.to_json()
        return json.dumps({"format": FORMAT, **known}, indent=1) + "\n"

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a sweep.json of this version or the one before.

        Raises ConfigError for a file that is missing, damaged, or of another version.
        """
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError as err:
            raise ConfigError(f"{path.parent} is no sweep's folder: it has no {path.name}") from err
        except ValueError as err:  # not JSON, or not UTF-8
            raise ConfigError(
                f"{path} is damaged ({err}); run the sweep under another name"
            ) from err
        known = found.get("format") if isinstance(found, dict) else None
        if known not in (1, FORMAT):
            raise ConfigError(f"{path} has format {known}; this program reads 1 and {FORMAT}")
        try:
            return checked(cls, found if known == FORMAT else _of_flat(found))
        except ValueError as err:
            raise ConfigError(
                f"{path} is damaged: {err}; run the sweep under another name"
            ) from err


def _of_flat(found: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of format 1 under today's names."""
    docs, metrics = found.get("docs"), found.get("metrics")
    if isinstance(docs, dict):
        docs = {name: _renamed(doc) for name, doc in docs.items()}
    if isinstance(metrics, dict) and isinstance(kid := metrics.get("kid"), str):
        metrics = {**metrics, "is": f"IS{kid.removeprefix('KID')}"}  # measured, but not named
    recipe = {
        **dict.fromkeys(("weights", "average", "training_step", "process", "imports")),
        **dict.fromkeys(("grid", "steps", "nfe", "seed")),
        **{"sampler": {"clip": found.get("clip")}, "scale": found.get("eps_scale", "none")},
        **{"scaling": found.get("scaling", {}), "device": found.get("device_type", "cpu")},
        **{key: found[key] for key in ("precision", "tf32") if key in found},
    }
    return {**found, "docs": docs, "metrics": metrics, "recipe": {"format": 2, **recipe}}


def _renamed(doc: Any) -> Any:
    return {RENAMED.get(key, key): v for key, v in doc.items()} if isinstance(doc, dict) else doc
