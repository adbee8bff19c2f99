"""The kind of part that images come from: data sources."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from configs.parts import Facts, Registry


@dataclass(frozen=True, kw_only=True)
class SourceFacts(Facts):
    """size, channels: of every image in pixels, None where images differ and a config says what it
    wants. labels: whether images have classes: "yes", "no", or "where there are sub-folders";
    classes: how many, None where only the images tell.
    published: hub id of published EMA weights by category, "" where the data set has no categories.
    """

    size: int | None
    channels: int | None
    labels: Literal["yes", "no", "where there are sub-folders"]
    classes: int | None = None
    published: Mapping[str, str] = field(default_factory=dict)


SOURCES: Registry[Callable[..., Any], SourceFacts] = Registry(
    "data set", SourceFacts, ("path", "download")
)
