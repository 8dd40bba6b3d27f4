"""Single values: which column holds them, and what a column cannot hold.

JSON has numbers without bounds and characters without their other half; an Arrow
column has neither.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, cast

import msgspec
import pyarrow as pa

from batchkit_tasks.answers.json_schemas import Schema
from batchkit_tasks.ground.json_text import whole_characters, write_json

Int64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]

ANNOTATIONS: Final = frozenset(
    (
        *("title", "description", "default", "examples", "format", "deprecated"),
        *(
            "readOnly",
            "writeOnly",
            "$schema",
            "$id",
            "$comment",
            "$defs",
            "definitions",
        ),
    )
)
"""Keywords that no validator looks at (`format` is one of them)."""


@dataclass(frozen=True, slots=True)
class Shape:
    """How values of one schema become values of a column."""

    arrow: pa.DataType
    convert: Callable[[Any], Any]
    """From a decoded, valid JSON value to a value of the Arrow type, `None` kept.
    Raises ValueError where the type cannot hold it."""
    fast: Any = None
    """A msgspec type, or `None`: ask jsonschema."""
    exact: bool = False
    """What the fast type decodes needs no conversion."""


def scalar(kind: str, node: Schema) -> Shape:
    """Give the column for a string, integer, number or boolean."""
    arrow, convert, fast = SCALARS[kind]
    if node.keys() - ANNOTATIONS - {"type", "enum"}:
        return Shape(arrow, convert)
    if "enum" in node:
        return Shape(arrow, convert, _literal(kind, node), exact=True)
    return Shape(arrow, convert, fast, exact=True)


def _literal(kind: str, node: Schema) -> Any:
    """Make a type of the choices, if all are texts (or all whole numbers)."""
    choices = list(cast(Sequence[Any], node["enum"]))
    if "null" not in node.get("type", "null"):
        choices = [choice for choice in choices if choice is not None]
    real = [choice for choice in choices if choice is not None]
    texts = kind == "string" and all(type(each) is str for each in real)
    whole = kind == "integer" and all(
        type(each) is int and abs(each) < 2**63 for each in real
    )
    return Literal[tuple(choices)] if real and (texts or whole) else None


def _text(value: Any) -> str | None:
    return None if value is None else whole_characters(value)


def _whole(value: Any) -> int | None:
    if value is None:
        return None
    number = int(value)
    if not -(2**63) <= number < 2**63:
        raise ValueError(f"{_short(value)} does not fit into 64 bits")
    return number


def finite(value: Any) -> float | None:
    if value is None:
        return None
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ValueError(f"{_short(value)} is too large for a number")
    return number


def _same(value: Any) -> Any:
    return value


def _json(value: Any) -> str | None:
    return None if value is None else write_json(value)


def _short(value: float) -> str:
    return f"{value}" if abs(value) < 1e30 else "a number"


SCALARS: Final[dict[str, tuple[pa.DataType, Callable[[Any], Any], Any]]] = {
    "string": (pa.string(), _text, str),
    "integer": (pa.int64(), _whole, Int64),
    "number": (pa.float64(), finite, float),
    "boolean": (pa.bool_(), _same, bool),
}
JSON_TEXT: Final = Shape(pa.string(), _json)
