"""Everything that decides what an image looks like, as one value."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from typing import Any, Self

from configs import values
from configs.schema import specs

FORMAT = 2  # of a recipe in a file; 1 was a flat mapping with names of its own
# Files of format 1 hold only some of these. None there means unknown, which is no difference.
MAY_BE_UNKNOWN = ("average", "training_step", "process", "scaling", "imports")
HEADS = {"process": "process", "sampler": "name", "picture": "mode"}  # which part; the rest: how
CONDITIONS = ("classes", "guidance", "guide")
OLD = {  # names in a file of format 1
    **{"weights_sha256": "weights", "weights_kind": "average", "training_step": "training_step"},
    **{"timesteps": "steps", "device_type": "device", "eps_scale": "scale"},
}


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that decides an image: image i of two equal recipes is the same image.

    weights: SHA-256 of the weights, 16 digits; average: "ema 0.9999" or "raw"; training_step: of
    the checkpoint, None for foreign weights; source: the file, not compared.
    process: the config's `diffusion` section. sampler: {"name": ..., **options, "clip": ...}; grid:
    its spec; steps: as asked, None for an adaptive sampler; nfe: evaluations an image, None where
    known only afterwards; scale: the spec of the eps scale, "none" for none.
    seed, precision, tf32, device ("cpu", "cuda"), scaling (the keys of the data section that belong
    to the weights), quantiser. imports: files that parts came from.
    picture: {"mode": ..., **what it was told}, None for plain samples.
    classes: "all" or "3,5"; guidance: such as 2:0.2-0.8; guide: SHA-256 of its weights. Each
    is None where there is none, and then no file holds it.

    A recipe that several images share has None for what differs between them. Mappings and lists
    are kept as JSON gives them back, so that what is read equals what was made.
    """

    weights: str | None
    average: str | None
    training_step: int | None
    source: str = field(default="", compare=False)
    process: Mapping[str, Any] | None
    sampler: Mapping[str, Any]
    grid: str | None
    steps: int | None
    nfe: float | None
    scale: str = "none"
    seed: int | None
    precision: str = "fp32"
    tf32: bool = False
    device: str = "cpu"
    scaling: Mapping[str, Any] | None
    quantiser: str = "uint8, 255 x rounded half up"
    imports: list[dict[str, str]] | None
    picture: Mapping[str, Any] | None = None
    classes: str | None = None
    guidance: str | None = None
    guide: str | None = None

    def __post_init__(self) -> None:
        for part in fields(self):
            value = getattr(self, part.name)
            if isinstance(value, Mapping | list | tuple):
                object.__setattr__(self, part.name, json.loads(json.dumps(value)))

    def to_json(self) -> dict[str, Any]:
        """The recipe as a file holds it."""
        found = asdict(self)
        unset = [key for key in CONDITIONS if found[key] is None]
        return {"format": FORMAT, **{k: value for k, value in found.items() if k not in unset}}

    @classmethod
    def from_json(cls, found: Any) -> Self:
        """Read a recipe, or the record that holds one: samples.json, eval.json, a cell of a sweep,
        of this version or the one before.

        Raises ValueError for what holds no recipe, or one of a newer version.
        """
        if isinstance(found, Mapping):
            found = found.get("recipe", found.get("made_by", found))
        if not isinstance(found, Mapping):
            raise ValueError(f"not a recipe: {values.show(found)}")
        if "format" not in found:
            found = _modern(found)
        elif found["format"] != FORMAT:
            raise ValueError(f"a recipe of format {found['format']}; this program knows {FORMAT}")
        known = {part.name: part for part in fields(cls)}
        needed = {name for name, part in known.items() if part.default is MISSING}
        if missing := [name for name in known if name in needed - found.keys()]:
            raise ValueError(f"not a recipe: it lacks {', '.join(missing)}")
        for key in HEADS:
            if not isinstance(found.get(key), Mapping | None):
                raise ValueError(f"not a recipe: {key} is {values.show(found[key])}")
        return cls(**{key: value for key, value in found.items() if key in known})

    def shared(self, clip: bool | str | None) -> Self:
        """Keep what all cells of a sweep share: neither weights, process, sampler, grid nor seed.

        clip: as it was asked for, None for each sampler's own. All classes are the default, and
        models without classes may stand beside those that have some.
        """
        own = (*("weights", "average", "training_step", "process", "imports"), *("grid", "steps"))
        varying: dict[str, Any] = dict.fromkeys((*own, "nfe", "seed"))
        varying["classes"] = None if self.classes == "all" else self.classes
        return replace(self, source="", sampler={"clip": clip}, **varying)

    def differs(self, other: Recipe) -> list[str]:
        """Say what two recipes do not share: `seed 0, now 1`. self is then, other is now."""
        return [f"{key} {values.show(a)}, now {values.show(b)}" for key, a, b in self._pairs(other)]

    def _pairs(self, other: Recipe) -> Iterator[tuple[str, Any, Any]]:
        """(name, then, now) of everything that is known on both sides and differs."""
        for part in fields(self):
            name = part.name
            one, two = getattr(self, name), getattr(other, name)
            if not part.compare or one == two:
                continue
            if name in MAY_BE_UNKNOWN and (one is None or two is None):
                continue
            a, b = (v.get(HEADS.get(name)) if isinstance(v, Mapping) else v for v in (one, two))
            if a != b:  # options of two samplers, say, cannot be compared
                yield name, a, b
                continue
            for key in dict.fromkeys([*one, *two]):
                if one.get(key) != two.get(key):
                    yield f"{name}.{key}", one.get(key), two.get(key)


def _modern(found: Mapping[str, Any]) -> dict[str, Any]:
    """A flat mapping of format 1 under today's names; of a picture, the rest is what it was told.

    A cell of a sweep had a spec as its sampler, name and options beside it, and the name of the
    device; what its cells shared stood in sweep.json.
    """
    rest = dict(found)
    known: dict[str, Any] = {**dict.fromkeys(MAY_BE_UNKNOWN), "source": rest.pop("weights", "")}
    known |= {new: rest.pop(old) for old, new in OLD.items() if old in rest}
    for key in ("sampler", "grid", "nfe", "seed", "precision", "tf32", "scaling", "quantiser"):
        if key in rest:
            known[key] = rest.pop(key)
    if isinstance(known.get("sampler"), str) and "sampler_name" in rest:
        own = {"name": rest["sampler_name"], **(rest.get("options") or {})}
        known["sampler"] = {**own, "clip": bool(rest.get("clip"))}
        known["steps"] = rest.get("steps")
        if "device" in rest:
            known.setdefault("device", "cpu" if rest["device"] == "cpu" else "cuda")
    if known.get("steps") is None and known.get("nfe"):
        known["nfe"] = None  # counted afterwards
    known["scale"] = _spec(known.get("scale", "none"))
    rest.pop("sample_type", None)  # said by the sampler
    mode = rest.pop("picture", None)
    return {**known, "picture": {"mode": mode, **rest} if mode else None}


def _spec(scale: str | Mapping[str, Any]) -> str:
    """The canonical spec of an eps scale; format 1 also knew {"name": ..., **options}."""
    if isinstance(scale, Mapping):
        options = [f"{key}={values.show(value)}" for key, value in scale.items() if key != "name"]
        scale = ":".join([scale["name"], *options])
    try:
        return str(specs.scale(scale) or "none")
    except specs.SpecError:  # of an import that is not here
        return scale
