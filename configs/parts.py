"""Parts: everything that a config or a flag may name, each registered where it is written.

    @SAMPLERS.part(title="DDIM", paper="2010.02502", order="1", nfe="S")
    def ddim(process: Process, grid: Tensor, eta: Annotated[float, Ge(0)] = 0.0) -> Plan: ...

The facts in the decorator and the annotations in the signature are all that lists, help, error
messages, checks, reports and citations know about a part. This file is the floor of the house: it
imports nothing of the project, and every room may import it.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar, get_type_hints

from configs import values

B = TypeVar("B", bound=Callable[..., Any])
F = TypeVar("F", bound="Facts")
W = TypeVar("W", bound=Callable[..., Any])  # what a decorator gets and returns

ROOT = Path(__file__).resolve().parents[1]
NAME = re.compile(r"[\w.+-]+")
ARXIV = re.compile(r"\d{4}\.\d{4,5}")
KINDS: dict[str, Registry[Any, Any]] = {}  # every registry of the program by the kind of its parts


class PartError(ValueError):
    """A part that cannot be registered, or a name that no part has; one line."""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Facts that every part states; each kind of part has more in a class of its own.

    title: what the part is, in a few words.
    paper: its arXiv number, "" where there is none.
    bibtex: the entry of a paper that papers.bib does not hold.
    aliases: other names of the part, each with the options it stands for, as a spec writes them
        ({"ddpm_noisy": "large"}).
    keys: other names of its options ({"beta_schedule": "schedule"}).
    unique: facts that no two parts of a kind share.
    """

    unique: ClassVar[tuple[str, ...]] = ()

    title: str
    paper: str
    bibtex: str = ""
    aliases: Mapping[str, str] = field(default_factory=dict)
    keys: Mapping[str, str] = field(default_factory=dict)

    def match(self, build: Callable[..., Any]) -> None:
        """Check the facts against the signature of what they describe. Raises PartError whose text
        follows the name of the part.
        """


@dataclass(frozen=True)
class Part(Generic[B, F]):
    """One registered part. build: what makes it; given: parameters that the program fills in
    itself; place: file and line of its registration, such as functions/samplers/ddim.py:14.
    """

    kind: str
    name: str
    build: B
    facts: F
    given: tuple[str, ...]
    place: str

    def takes(self, parameter: str) -> bool:
        """Whether the part has a parameter that the program may fill in or leave out."""
        return parameter in inspect.signature(self.build).parameters

    @cached_property
    def options(self) -> dict[str, inspect.Parameter]:
        """Parameters that a config, a flag or a spec may set, in order, annotations evaluated."""
        return {
            key: parameter
            for key, parameter in inspect.signature(self.build, eval_str=True).parameters.items()
            if key not in self.given
        }

    @property
    def defaults(self) -> dict[str, Any]:
        """Defaults of the options that have one."""
        found = {key: parameter.default for key, parameter in self.options.items()}
        return {key: value for key, value in found.items() if value is not inspect.Parameter.empty}

    def check(self) -> None:
        """Check that the annotations can be read and allow the defaults. Raises PartError."""
        here = f"{self.place}: {self.kind} {self.name!r} has"
        try:
            known = self.options
        except NameError as err:
            raise PartError(f"{here} an annotation that cannot be read: {err}") from None
        for key, parameter in known.items():
            if not values.plain_kind(parameter.annotation):
                raise PartError(f"{here} an option {key} that no config can hold; write {key}: int")
        for key, value in self.defaults.items():
            if not values.fits(known[key].annotation, value):
                should = values.words(known[key].annotation)
                text = f"{key} {values.show(value)} by default; it should be {should}"
                raise PartError(f"{here} {text}")

    def make(self, options: Mapping[str, Any], **given: Any) -> Any:
        """Build the part. given: what the program fills in, as far as the part takes it."""
        taken = inspect.signature(self.build).parameters
        return self.build(**options, **{k: v for k, v in given.items() if k in taken})

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


class Registry(Mapping[str, B], Generic[B, F]):
    """All parts of one kind. As a mapping: name -> what builds the part; `parts` has the rest."""

    def __init__(
        self,
        kind: str,
        facts: type[F],
        given: tuple[str, ...] = (),
        called: bool = False,
        optional: tuple[str, ...] = (),
    ) -> None:
        """kind: the word for a part, in messages ("sampler"); facts: the class of its facts;
        given: parameters that the program fills in itself, so that no option may be called so;
        called: with all of them by position, so that every part begins with them; optional: more
        parameters that the program fills in, by name, where a part has them.
        """
        self.kind, self.facts, self.given, self.called = kind, facts, given, called
        self.optional = optional
        self.parts: dict[str, Part[B, F]] = {}
        KINDS[kind] = self

    def part(self, name: str = "", **facts: Any) -> Callable[[W], W]:
        """Decorate what builds a part. name: the function's own where it is left out.

        Raises PartError, with file and line, for a taken name, for facts that are missing or
        unknown, and for an option without an annotation.
        """
        frame = sys._getframe(1)
        file = Path(frame.f_code.co_filename)
        shown = file.relative_to(ROOT) if file.is_relative_to(ROOT) else file
        place = f"{shown}:{frame.f_lineno}"

        def register(build: W) -> W:
            chosen = name or build.__name__
            try:
                self._add(chosen, build, facts, place)
            except PartError as err:
                raise PartError(f"{place}: {self.kind} {chosen!r} {err}") from None
            return build

        return register

    def _add(self, name: str, build: Any, facts: dict[str, Any], place: str) -> None:
        stated = self._stated(facts)
        if not NAME.fullmatch(name):
            raise PartError("has a name that is not made of letters, digits and . + - _")
        for taken in (name, *stated.aliases):
            if owner := self.resolve(taken):
                raise PartError(f"takes the name {taken}, which is that of {owner[0].place}")
        parameters = inspect.signature(build).parameters
        if self.called and list(parameters)[: len(self.given)] != list(self.given):
            raise PartError(f"should begin with the parameters {', '.join(self.given)}")
        given = (*self.given, *self.optional)
        for key, parameter in parameters.items():
            if key not in given and parameter.annotation is inspect.Parameter.empty:
                raise PartError(f"has an option {key} without annotation; write {key}: TYPE")
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                raise PartError(f"takes *{key}; every option should have a name")
        if strange := [key for key in stated.keys.values() if key not in parameters]:
            raise PartError(f"has no option {strange[0]}, which its keys name")
        stated.match(build)
        for fact in self.facts.unique:
            value = getattr(stated, fact)
            for other in self.parts.values():
                if getattr(other.facts, fact) == value:
                    raise PartError(f"has the {fact} {value}, which is that of {other.place}")
        self.parts[name] = Part(self.kind, name, build, stated, given, place)

    def _stated(self, facts: dict[str, Any]) -> F:
        """The facts, once they are complete and of the right types."""
        named = fields(self.facts)
        known = ", ".join(f.name for f in named)
        if unknown := facts.keys() - {f.name for f in named}:
            raise PartError(f"states {', '.join(sorted(unknown))}; a {self.kind} states {known}")
        needed = [f.name for f in named if f.default is f.default_factory is MISSING]
        if missing := [fact for fact in needed if fact not in facts]:
            raise PartError(f"lacks {', '.join(missing)}; a {self.kind} states {known}")
        types = get_type_hints(self.facts, include_extras=True)
        for fact, value in facts.items():
            if not values.fits(types[fact], value):
                should = values.words(types[fact])
                raise PartError(f"has {fact} {values.show(value)}; it should be {should}")
        stated = self.facts(**facts)
        if not stated.title.strip():
            raise PartError("has an empty title")
        if stated.paper and not ARXIV.fullmatch(stated.paper):
            raise PartError(f"has paper {stated.paper!r}; it should be an arXiv number, or empty")
        return stated

    def resolve(self, name: str) -> tuple[Part[B, F], str] | None:
        """The part of this name or alias, and the options that an alias stands for."""
        if name in self.parts:
            return self.parts[name], ""
        found = ((p, p.facts.aliases[name]) for p in self.parts.values() if name in p.facts.aliases)
        return next(found, None)

    def find(self, name: str) -> tuple[Part[B, F], str]:
        """`resolve`, or PartError that says which names are near."""
        found = self.resolve(name)
        if found is None:
            raise PartError(f"{values.show(name)} is unknown; it should be {self.near(name)}")
        return found

    @property
    def names(self) -> list[str]:
        """Names and aliases."""
        return [*self.parts, *(alias for p in self.parts.values() for alias in p.facts.aliases)]

    def near(self, name: object) -> str:
        """`a, b or c`: all names where they are few, else the nearest three and where all are."""
        text = values.either(self.names)
        lower = {known.lower(): known for known in self.names}
        close = get_close_matches(str(name).lower(), lower, 1, 0.6)
        return f"{text}; did you mean {lower[close[0]]}?" if close else text

    def __getitem__(self, name: str) -> B:
        return self.parts[name].build

    def __iter__(self) -> Iterator[str]:
        return iter(self.parts)

    def __len__(self) -> int:
        return len(self.parts)

    def __hash__(self) -> int:
        return id(self)


def require(part: Part[Any, Any] | Callable[..., Any], **options: Any) -> None:
    """Check options against the annotations of a signature: the one home of every range.

    Raises ValueError that names the first option that does not fit, and what would.
    """
    build = part.build if isinstance(part, Part) else part
    allowed = values.signature(build)
    for key, value in options.items():
        if not values.fits(allowed[key], value):
            should = values.words(allowed[key])
            raise ValueError(f"{key} {values.show(value)} is not valid; it should be {should}")
