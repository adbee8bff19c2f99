"""Values of options: checked against an annotation, read from text, said in words.

Annotated[int, Ge(0), Le(3)]        a whole number from 0 to 3
Annotated[float, Gt(0)] | None      a number above 0, or null
Literal["t", "rho"]                 t or rho
Annotated[str, OneOf(SCHEDULES)]    the name of a registered part
Quantity                            a count that may be written 500k or 25.6M
"""

from __future__ import annotations

import inspect
import json
import math
import re
import types
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Union, get_args, get_origin

from annotated_types import BaseMetadata, Ge, Gt, Le, Lt, MinLen

if TYPE_CHECKING:
    from pydantic import TypeAdapter

Count = Annotated[int, Ge(1)]
CountOrZero = Annotated[int, Ge(0)]
Positive = Annotated[float, Gt(0)]
PositiveOrZero = Annotated[float, Ge(0)]
Fraction = Annotated[float, Ge(0), Lt(1)]
Share = Annotated[float, Ge(0), Le(1)]
Length = Annotated[float, Gt(0), Le(0.25)]  # of an average of weights, a share of the training


class OneOf:
    """Constraint of a text: it is one of these names, which may grow."""

    def __init__(self, names: Collection[str]) -> None:
        self.names = names

    def __get_pydantic_core_schema__(self, source: Any, handler: Callable[[Any], Any]) -> Any:
        from pydantic_core import core_schema

        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def _check(self, value: str) -> str:
        if value not in self.names:
            raise ValueError("unknown")
        return value


class Suffixed:
    """Whole number that may also be written with k (thousand), M (million) or G (billion)."""

    SUFFIXES: ClassVar = {"": 1, "k": 10**3, "K": 10**3, "M": 10**6, "G": 10**9}
    TEXT: ClassVar = r"([0-9]+(?:\.[0-9]*)?(?:[eE][0-9]{1,2})?)([kKMG]?)"

    def __get_pydantic_core_schema__(self, source: Any, handler: Callable[[Any], Any]) -> Any:
        from pydantic_core import core_schema

        return core_schema.no_info_before_validator_function(self._number, handler(source))

    def __get_pydantic_json_schema__(self, schema: Any, handler: Callable[[Any], Any]) -> Any:
        return {"anyOf": [handler(schema), {"type": "string", "pattern": f"^{self.TEXT}$"}]}

    def _number(self, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        if (found := re.fullmatch(self.TEXT, value.strip())) is None:
            raise ValueError("no quantity")
        exact = Decimal(found[1]) * self.SUFFIXES[found[2]]
        if exact != int(exact):
            raise ValueError("not whole")
        return int(exact)


Quantity = Annotated[int, Suffixed(), Ge(1)]


@cache
def _adapter(annotation: Any) -> TypeAdapter[Any]:
    from pydantic import TypeAdapter

    return TypeAdapter(annotation)


@cache
def signature(build: Callable[..., Any]) -> dict[str, Any]:
    """Annotation of every parameter of `build`, evaluated."""
    parameters = inspect.signature(build, eval_str=True).parameters
    return {key: parameter.annotation for key, parameter in parameters.items()}


def check(annotation: Any, value: Any) -> Any:
    """Convert a plain value of YAML or JSON to an annotated type. Raises ValueError (`words`)."""
    from pydantic import ValidationError

    try:
        return _adapter(annotation).validate_json(json.dumps(value), strict=True)
    except (ValidationError, TypeError):
        raise ValueError(words(annotation)) from None


def fits(annotation: Any, value: Any) -> bool:
    """Whether the annotation allows this Python value; NaN is never allowed."""
    from pydantic import ValidationError

    try:
        _adapter(annotation).validate_python(value, strict=True)
    except ValidationError:
        return False
    return value == value


def read(annotation: Any, text: str | Sequence[str]) -> Any:
    """Read a value from the text of a flag or a spec. Raises ValueError with `words`."""
    from pydantic import ValidationError

    if text in ("none", "null") and type(None) in get_args(annotation):
        return None
    if get_origin(annotation) is tuple:  # of one kind of items, as typed or separated by commas
        items = text.strip("[] ").split(",") if isinstance(text, str) else text
        return tuple(read(get_args(annotation)[0], item.strip()) for item in items)
    try:
        value = _adapter(annotation).validate_strings(text)
    except ValidationError:
        value = math.nan
    if value != value:
        raise ValueError(words(annotation))
    return value


def words(annotation: Any) -> str:
    """Say which values the annotation allows, to follow "it should be"."""
    base, bounds = _parts(annotation)
    if names := names_of(annotation):
        return either(names)
    if any(isinstance(bound, Suffixed) for bound in bounds):
        return "a count above 0, such as 50000, 500k or 25.6M"
    origin = get_origin(base)
    if origin in (Union, types.UnionType):
        kinds = [kind for kind in get_args(base) if kind is not type(None)]
        text = " or ".join(dict.fromkeys(words(kind) for kind in kinds))
        if len(kinds) < len(get_args(base)):
            text += ", or null" if "," in text else " or null"
        return text
    if origin is Literal:
        return either(map(show, get_args(base)))
    if origin is not None and issubclass(origin, Sequence):
        kind = "a non-empty list" if any(isinstance(b, MinLen) for b in bounds) else "a list"
        return f"{kind} of {_plural(get_args(base)[0])}"
    known = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
    return known.get(base, getattr(base, "__name__", str(base))) + _range(bounds)


def plain_kind(annotation: Any) -> bool:
    """Whether values of this type can be read from a config."""
    from pydantic.errors import PydanticSchemaGenerationError

    try:
        _adapter(annotation)
    except PydanticSchemaGenerationError:
        return False
    return True


def names_of(annotation: Any) -> Collection[str]:
    """Names that an annotation with OneOf allows, empty without one."""
    return next((b.names for b in _parts(annotation)[1] if isinstance(b, OneOf)), ())


def _parts(annotation: Any) -> tuple[Any, Sequence[Any]]:
    if get_origin(annotation) is Annotated:
        base, *bounds = get_args(annotation)
        return base, [b for b in bounds if isinstance(b, BaseMetadata | OneOf | Suffixed)]
    return annotation, []


def _range(bounds: Iterable[Any]) -> str:
    low = next((b for b in bounds if isinstance(b, Ge | Gt)), None)
    high = next((b for b in bounds if isinstance(b, Le | Lt)), None)
    if isinstance(low, Ge) and isinstance(high, Le):
        return f" from {low.ge} to {high.le}"
    said = []
    if low is not None:
        said.append(f"at least {low.ge}" if isinstance(low, Ge) else f"above {low.gt}")
    if high is not None:
        said.append(f"at most {high.le}" if isinstance(high, Le) else f"below {high.lt}")
    text = " and ".join(said)
    return f", {text}" if text.startswith("at") else f" {text}" if text else ""


def _plural(annotation: Any) -> str:
    base, bounds = _parts(annotation)
    if any(isinstance(bound, Suffixed) for bound in bounds):
        return "counts above 0, such as 50000, 500k or 25.6M"
    each = _range(bounds).replace(", ", ", each ")
    return {int: "whole numbers", float: "numbers"}.get(base, "values") + each


def show(value: Any) -> str:
    """A value as a config, a flag or a spec holds it, shortened."""
    if isinstance(value, str):
        text = value
    elif isinstance(value, float):
        text = f"{value:g}" if float(f"{value:g}") == value else str(value)
    else:
        text = json.dumps(value, default=str)
    return text if len(text) <= 60 else text[:57] + "..."


def either(names: Iterable[str]) -> str:
    """Names as `a, b or c`."""
    *first, last = names
    return f"{', '.join(first)} or {last}" if first else last


def plain(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options as JSON can hold them: tuples as lists, infinity as text."""
    return {
        key: str(value)
        if isinstance(value, float) and not math.isfinite(value)
        else list(value)
        if isinstance(value, tuple)
        else value
        for key, value in options.items()
    }
