"""Which text a value of a table becomes in a prompt.

The same value always gives the same text, on every machine and in every locale:

| Arrow type | text |
|---|---|
| string (all kinds), JSON extension | as it is |
| integers | `-7` |
| floats | the shortest text that reads back as the same number: `0.1`, `3.0`, `1e+20`; \
`NaN`, `Infinity`, `-Infinity` |
| decimals | plain, with all their digits: `1.50` |
| booleans | `true`, `false` |
| dates | `2026-11-22` |
| timestamps | `2026-11-22T08:21:00`, a fraction only if there is one; with a zone also \
the offset there and then: `2026-11-22T09:21:00.5+01:00` |
| times | `08:21:00` |
| durations | ISO 8601: `P1DT2H3M4.5S`, `-PT1S`, `PT0S` |
| lists, structs, maps | JSON as `json.dumps` writes it, non-ASCII characters kept; \
inside, NaN and infinities are `null` and dates are texts |
| dictionary (categories), run-end encoded | as the value it stands for |
| UUID extension | `12345678-1234-…`; other extensions: as their storage |
| null | None: the row is not sent |
| binary, intervals, unions | refused, before anything is sent |
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types

from batchkit_tasks.errors import ColumnTypeError

Texts = list[str | None]

_UNITS_PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}


def render_column(array: pa.ChunkedArray | pa.Array, name: str = "") -> Texts:
    """Give the text of each value, None for null; the table above says which.

    Bytes of a string column that are not UTF-8 become lone surrogates, which the caller
    meets when it encodes the text.

    Args:
        name: The column's name, for the message.

    Raises:
        ColumnTypeError: The type has no text (binary), or its time zone is unknown.
    """
    if isinstance(array, pa.ChunkedArray):
        return [text for chunk in array.chunks for text in _render(chunk, name)]
    return _render(array, name)


def check_renderable(kind: pa.DataType, name: str) -> None:
    """Refuse a type for which `render_column` has no text.

    Raises:
        ColumnTypeError: As `render_column` would raise it.
    """
    _render(cast("Any", pa).nulls(0, kind), name)
    if types.is_timestamp(kind):
        _local(pa.array([0], pa.int64()).cast(kind), name)


def _render(array: Any, name: str) -> Texts:
    kind = array.type
    for matches, render in _RENDERERS:
        if matches(kind):
            return render(array, name)
    if isinstance(kind, pa.BaseExtensionType):
        return _extension(array, name)
    if types.is_nested(kind) and not types.is_union(kind):
        return _nested(array, name)
    advice = "Decode it to text" if "binary" in str(kind) else "Turn it into text first"
    raise ColumnTypeError(name, str(kind), f"{advice}, or leave it out of the prompt.")


def _strings(array: Any, name: str) -> Texts:
    try:
        return array.to_pylist()
    except UnicodeDecodeError:
        raw = array.cast(pa.large_string()).cast(pa.large_binary()).to_pylist()
        return [
            value if value is None else value.decode("utf-8", "surrogateescape")
            for value in raw
        ]


def _cast(array: pa.Array, name: str) -> Texts:
    return array.cast(pa.string()).to_pylist()


def _floats(array: Any, name: str) -> Texts:
    write: Callable[[float], str] = repr
    if not types.is_float64(array.type):
        write = _write_short_float
    return [
        value if value is None else _FLOAT_NAMES.get(text := write(value), text)
        for value in array.to_pylist()
    ]


_FLOAT_NAMES = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}


def _write_short_float(value: float) -> str:
    """Write a 16- or 32-bit float with no more digits than 32 bits need."""
    return str(np.float32(value))


def _decimals(array: pa.Array, name: str) -> Texts:
    return [value if value is None else f"{value:f}" for value in array.to_pylist()]


def _dates(array: pa.Array, name: str) -> Texts:
    return array.cast(pa.date32()).cast(pa.string()).to_pylist()


def _times(array: pa.Array, name: str) -> Texts:
    return _without_zeros(array.cast(pa.string())).to_pylist()


def _without_zeros(texts: pa.Array) -> pa.Array:
    """Cut the zeros that end a fraction, and the point if nothing is left of it."""
    shorter = pc.replace_substring_regex(texts, r"(\.\d*?)0+$", r"\1")
    return pc.utf8_rtrim(shorter, ".")


def _timestamps(array: Any, name: str) -> Texts:
    local = _local(array, name)
    spaced = _without_zeros(local.cast(pa.string()))
    texts: Texts = pc.replace_substring(spaced, " ", "T").to_pylist()
    if not array.type.tz:
        return texts
    ticks = pc.subtract(local.cast(pa.int64()), array.cast(pa.int64()))
    offsets = pc.divide(ticks, _UNITS_PER_SECOND[array.type.unit]).to_pylist()
    names = {offset: _offset(offset) for offset in set(offsets) if offset is not None}
    return [
        text if text is None else text + names[offset]
        for text, offset in zip(texts, offsets, strict=True)
    ]


def _local(array: pa.Array, name: str) -> pa.Array:
    """Give what a clock on the wall of the type's zone shows."""
    kind = array.type
    if not kind.tz:
        return array
    if kind.tz.upper() in ("UTC", "ETC/UTC", "Z"):
        return array.cast(pa.timestamp(kind.unit))
    try:
        return cast("Any", pc).local_timestamp(array)
    except pa.ArrowInvalid as error:
        advice = f"Its time zone is not known here: {error}. Convert the column to UTC."
        raise ColumnTypeError(name, str(kind), advice) from None


def _offset(seconds: int) -> str:
    sign = "-" if seconds < 0 else "+"
    minutes, rest = divmod(abs(seconds), 60)
    text = f"{sign}{minutes // 60:02}:{minutes % 60:02}"
    return f"{text}:{rest:02}" if rest else text


def _durations(array: pa.Array, name: str) -> Texts:
    units = _UNITS_PER_SECOND[array.type.unit]
    ticks = array.cast(pa.int64()).to_pylist()
    return [tick if tick is None else _duration(tick, units) for tick in ticks]


def _duration(ticks: int, units_per_second: int) -> str:
    seconds, fraction = divmod(abs(ticks), units_per_second)
    days, seconds = divmod(seconds, 86_400)
    hours, minutes, seconds = seconds // 3600, seconds // 60 % 60, seconds % 60
    digits = f"{fraction / units_per_second:.9f}"[2:].rstrip("0")
    whole = f"{seconds}.{digits}" if digits else f"{seconds}"
    clock = "".join(
        f"{value}{unit}"
        for value, unit in ((hours, "H"), (minutes, "M"), (whole, "S"))
        if value not in (0, "0")
    )
    text = (f"{days}D" if days else "") + (f"T{clock}" if clock else "")
    return ("-" if ticks < 0 else "") + "P" + (text or "T0S")


def _categories(array: Any, name: str) -> Texts:
    values = _render(array.dictionary, name)
    return [None if at is None else values[at] for at in array.indices.to_pylist()]


def _run_ends(array: Any, name: str) -> Texts:
    return _render(cast("Any", pc).run_end_decode(array), name)


def _extension(array: Any, name: str) -> Texts:
    if array.type.extension_name == "arrow.uuid":
        return [value if value is None else str(value) for value in array.to_pylist()]
    return _render(array.storage, name)


_RENDERERS: tuple[
    tuple[Callable[[pa.DataType], bool], Callable[[pa.Array, str], Texts]], ...
] = (
    (lambda t: "string" in str(t) and not types.is_nested(t), _strings),
    (types.is_dictionary, _categories),
    (types.is_integer, _cast),
    (types.is_floating, _floats),
    (types.is_boolean, _cast),
    (types.is_timestamp, _timestamps),
    (types.is_date, _dates),
    (types.is_time, _times),
    (types.is_duration, _durations),
    (types.is_decimal, _decimals),
    (types.is_null, lambda array, _: [None] * len(array)),
    (types.is_run_end_encoded, _run_ends),
)


# ------------------------------------------------------------------ nested, as JSON


def _nested(array: pa.Array, name: str) -> Texts:
    nulls = array.is_null().to_pylist()
    texts = _json(array, name)
    return [None if null else text for null, text in zip(nulls, texts, strict=True)]


def _json(array: Any, name: str) -> list[str]:
    """Give the JSON of each value, `null` for null."""
    kind = array.type
    if types.is_map(kind):
        return _json_maps(array, name)
    if types.is_struct(kind):
        return _json_structs(array, name)
    if types.is_nested(kind) and hasattr(array, "flatten"):
        return _json_lists(array, name)
    if types.is_dictionary(kind):
        values = [*_json(array.dictionary, name), "null"]
        return [values[-1 if at is None else at] for at in array.indices.to_pylist()]
    quote = _json_writer(kind)
    return ["null" if text is None else quote(text) for text in _render(array, name)]


def _json_writer(kind: pa.DataType) -> Callable[[str], str]:
    if types.is_floating(kind):
        return lambda text: text if math.isfinite(float(text)) else "null"
    if types.is_integer(kind) or types.is_decimal(kind) or types.is_boolean(kind):
        return str
    return _quoted


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _json_lists(array: Any, name: str) -> list[str]:
    items: Iterator[str] = iter(_json(array.flatten(), name))
    lengths: list[int | None] = pc.list_value_length(array).to_pylist()
    return [
        "null" if length is None else f"[{', '.join(_take(items, length))}]"
        for length in lengths
    ]


def _take(items: Iterator[str], count: int) -> list[str]:
    return [next(items) for _ in range(count)]


def _json_structs(array: Any, name: str) -> list[str]:
    kind, nulls = array.type, array.is_null().to_pylist()
    labels = [_quoted(kind.field(at).name) for at in range(kind.num_fields)]
    fields = [_json(array.field(at), name) for at in range(kind.num_fields)]
    rows = zip(*fields, strict=True) if fields else ((),) * len(array)
    return [
        "null" if null else _object(labels, row)
        for null, row in zip(nulls, rows, strict=True)
    ]


def _json_maps(array: Any, name: str) -> list[str]:
    ends = array.offsets.to_pylist()
    first, count = ends[0], ends[-1] - ends[0]
    keys = _render(array.keys.slice(first, count), name)
    labels = ["null" if key is None else _quoted(key) for key in keys]
    items = _json(array.items.slice(first, count), name)
    return [
        "null" if null else _object(labels[a - first : b - first], items[a - first :])
        for null, a, b in zip(array.is_null().to_pylist(), ends, ends[1:], strict=False)
    ]


def _object(labels: list[str], values: Any) -> str:
    pairs = zip(labels, values, strict=False)
    return "{" + ", ".join(f"{label}: {value}" for label, value in pairs) + "}"
