"""The kind of part that draws pictures of a model: picture modes."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from configs.parts import Facts, PartError, Registry


@dataclass(frozen=True, kw_only=True)
class PictureFacts(Facts):
    """helps: the help text of every option, and under "" that of the mode's own flag.
    flag: the option whose value the mode's own flag carries, as in `--grid 4x8`; "": none.
    samples: number of images without --n_samples; None where the mode ignores --n_samples.
    """

    helps: Mapping[str, str]
    flag: str = ""
    samples: int | None = None

    def match(self, build: Callable[..., Any]) -> None:
        """Check that every option has its help. Raises PartError."""
        if missing := getattr(build, "__abstractmethods__", ()):
            raise PartError(f"has no method {', '.join(missing)}")
        options = inspect.signature(build).parameters
        if self.flag and self.flag not in options:
            raise PartError(f"has the flag {self.flag}, which is none of its options")
        helpless = [key for key in ("", *options) if key not in (*self.helps, self.flag or None)]
        if helpless:
            texts = ", ".join(repr(key) for key in helpless)
            raise PartError(
                f"lacks help for {texts}; helps= has one text per option, and one for ''"
            )


PICTURES: Registry[Callable[..., Any], PictureFacts] = Registry("picture mode", PictureFacts)
