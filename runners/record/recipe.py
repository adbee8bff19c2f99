"""Everything that decides what an image looks like, as one value."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Self

from configs import values

FORMAT = 2  # of a recipe in a file; 1 was a flat mapping with names of its own
UNKNOWN = ("process", "imports")  # a file of format 1 does not hold these; there they are None
OLD = {  # names in a file of format 1
    "weights_sha256": "weights",
    "weights_kind": "average",
    "training_step": "training_step",
    "timesteps": "steps",
    "device_type": "device",
}


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What made an image: image i of two equal recipes is the same image.

    weights: SHA-256 of the weights, 16 digits; average: "ema 0.9999" or "raw"; training_step: of
    the checkpoint, None for foreign weights; source: the file, not compared.
    process: the config's `diffusion` section, None where an older version wrote the file.
    sampler: {"name": ..., **options, "clip": ...}; grid: its spec; steps: as asked, None for an
    adaptive sampler; nfe: evaluations an image, None where known only afterwards; scale: the spec
    of the eps scale, "none" for none.
    seed, precision, tf32, device ("cpu", "cuda"), scaling (the keys of the data section that belong
    to the weights), quantiser. imports: files that parts came from, None as for `process`.
    picture: {"mode": ..., **what it was told}, None for plain samples.

    What differs from image to image is None in a recipe that several of them share.
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
    scaling: Mapping[str, Any]
    quantiser: str = "uint8, 255 x rounded half up"
    imports: list[dict[str, str]] | None
    picture: Mapping[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        """The recipe as a file holds it."""
        return {"format": FORMAT, **asdict(self)}

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Self:
        """A recipe as a file holds it, of this or an older version. Raises ValueError for what is
        none, or of a version that is newer than the program.
        """
        if "format" not in found:
            found = _modern(found)
        elif found["format"] != FORMAT:
            raise ValueError(f"a recipe of format {found['format']}; this program knows {FORMAT}")
        names = {f.name for f in fields(cls)}
        try:
            return cls(**{key: value for key, value in found.items() if key in names})
        except TypeError as err:
            raise ValueError(f"not a recipe: {err}") from err

    def shared(self, clip: bool | None) -> Self:
        """What all cells of a sweep share: neither weights nor process, sampler, grid and seed.

        clip: as it was asked for, None for each sampler's own.
        """
        own = (*("weights", "average", "training_step", "process", "imports"), *("grid", "steps"))
        varying: dict[str, Any] = dict.fromkeys((*own, "nfe", "seed"))
        return replace(self, source="", sampler={"clip": clip}, **varying)

    def differs(self, other: Recipe) -> list[str]:
        """What two recipes do not share, in words: `seed 0, now 1`; self is then, other is now."""
        return [f"{key} {values.show(a)}, now {values.show(b)}" for key, a, b in self._pairs(other)]

    def _pairs(self, other: Recipe) -> Iterator[tuple[str, Any, Any]]:
        """(name, then, now) of everything that is known on both sides and differs."""
        for part in fields(self):
            one, two = getattr(self, part.name), getattr(other, part.name)
            if not part.compare or one == two:
                continue
            if part.name in UNKNOWN and (one is None or two is None):
                continue
            if isinstance(one, Mapping) and isinstance(two, Mapping):
                for key in dict.fromkeys([*one, *two]):
                    if one.get(key) != two.get(key):
                        yield f"{part.name}.{key}", one.get(key), two.get(key)
            else:
                yield part.name, one, two


def _modern(found: Mapping[str, Any]) -> dict[str, Any]:
    """A flat mapping of format 1 under today's names; what is left over belongs to a picture."""
    rest = dict(found)
    rest.pop("sample_type", None)  # said by the sampler
    scale = rest.pop("eps_scale", None)
    known = {new: rest.pop(old) for old, new in OLD.items() if old in rest}
    known["source"] = rest.pop("weights", "")
    for key in ("sampler", "grid", "nfe", "seed", "precision", "tf32", "scaling", "quantiser"):
        if key in rest:
            known[key] = rest.pop(key)
    known["scale"] = _spec(scale) if isinstance(scale, Mapping) else scale or "none"
    mode = rest.pop("picture", None)
    return {
        **{"process": None, "imports": None, "picture": {"mode": mode, **rest} if mode else None},
        **known,
    }


def _spec(scale: Mapping[str, Any]) -> str:
    """The spec of an eps scale that was stored as {"name": ..., **options}."""
    options = [f"{key}={values.show(value)}" for key, value in scale.items() if key != "name"]
    return ":".join([scale["name"], *options])
