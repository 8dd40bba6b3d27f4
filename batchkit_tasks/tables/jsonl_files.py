"""JSON Lines: one object a line; columns get a type only if every row fits it.

All files are read twice: once to find every key and the type that fits all its values,
once to convert. Columns stand in the order in which their keys come up first; a key that
a line lacks is null. A column is

| type | if all its values are |
|---|---|
| int64 | whole numbers of up to 18 digits |
| double | numbers, the whole ones among them of up to 15 digits |
| bool, string | that |
| list of one of these | arrays of it |
| string | anything else: texts are themselves; objects, larger numbers, other arrays and \
mixtures are their JSON, exactly as it stands in the file |

Texts are never taken for dates. Empty lines are passed over.
"""

from __future__ import annotations

import lzma
import math
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO, Any, Final

import msgspec
import pyarrow as pa

from batchkit_tasks.errors import SourceError
from batchkit_tasks.tables.source_files import Listing, open_text
from batchkit_tasks.tables.text_tables import TextTable, not_utf8

BLOCK_BYTES: Final = 2_000_000
"""Read at a time."""

_BOM: Final = b"\xef\xbb\xbf"

Line = dict[str, msgspec.Raw]

_decode_line: Final = msgspec.json.Decoder(Line).decode
_decode_text: Final = msgspec.json.Decoder(str).decode
_decode_items: Final = msgspec.json.Decoder(list[msgspec.Raw]).decode


def scan(listing: Listing) -> TextTable:
    """Read all rows once, to count them and to find the columns and types that fit.

    Raises:
        SourceError: A line is no JSON object or not UTF-8, or there are no rows.
    """
    kinds: dict[str, str] = {}
    rows = 0
    for lines in _read_blocks(listing):
        for line in lines:
            for key, raw in line.items():
                kinds[key] = _merged(kinds.get(key, "null"), _kind(bytes(raw)))
        rows += len(lines)
    if not rows:
        raise SourceError(listing.url, "it has no rows.")
    if not kinds:
        raise SourceError(listing.url, "it has no columns: all its objects are empty.")
    schema = pa.schema(
        [pa.field(key, _column(kind).type) for key, kind in kinds.items()]
    )
    return TextTable(schema, rows, lambda: _convert(listing, kinds, schema))


def _convert(
    listing: Listing, kinds: dict[str, str], schema: pa.Schema
) -> Iterator[pa.Table]:
    for lines in _read_blocks(listing):
        try:
            columns = [
                _array([line.get(key) for line in lines], _column(kind))
                for key, kind in kinds.items()
            ]
        except (ValueError, pa.ArrowException) as error:
            raise SourceError(
                listing.url, "it changed while it was being read."
            ) from error
        yield pa.Table.from_arrays(columns, schema=schema)


# ------------------------------------------------------------------- kinds of values


def _kind(raw: bytes) -> str:
    """Classify a value by its JSON: null, bool, int, long, float, string, list:…, json."""
    first = raw[:1]
    if first == b'"':
        return "string"
    if first == b"n":
        return "null"
    if first in (b"t", b"f"):
        return "bool"
    if first == b"[":
        return _list_kind(raw)
    return "json" if first == b"{" else _number_kind(raw)


def _number_kind(raw: bytes) -> str:
    if b"." in raw or b"e" in raw or b"E" in raw:
        return "float" if math.isfinite(float(raw)) else "json"
    digits = len(raw.lstrip(b"-"))
    return "int" if digits <= 15 else "long" if digits <= 18 else "json"


def _list_kind(raw: bytes) -> str:
    kind = "null"
    for item in _decode_items(raw):
        kind = _merged(kind, _kind(bytes(item)))
    return f"list:{kind}" if kind in _SCALARS else "json"


_SCALARS: Final = frozenset(("null", "bool", "int", "long", "float", "string"))


def _merged(one: str, other: str) -> str:
    """Give the kind that holds the values of both."""
    if one == other or other == "null":
        return one
    if one == "null":
        return other
    if one.startswith("list:") and other.startswith("list:"):
        kind = _merged(one[5:], other[5:])
        return f"list:{kind}" if kind in _SCALARS else "json"
    return _WIDER.get(frozenset((one, other)), "json")


_WIDER: Final[dict[frozenset[str], str]] = {
    frozenset(("int", "float")): "float",
    frozenset(("int", "long")): "long",
}


# ------------------------------------------------------------------ typed columns


@dataclass(frozen=True, slots=True)
class _Column:
    type: pa.DataType
    read: Callable[[bytes], Any]


def _text(raw: bytes) -> str:
    return _decode_text(raw) if raw[:1] == b'"' else raw.decode()


def _column(kind: str) -> _Column:
    if kind.startswith("list:"):
        item = _column(kind[5:])
        return _Column(
            pa.list_(item.type),
            lambda raw: [_value(bytes(i), item) for i in _decode_items(raw)],
        )
    return _COLUMNS.get(kind, _COLUMNS["json"])


_COLUMNS: Final = {
    "int": _Column(pa.int64(), int),
    "long": _Column(pa.int64(), int),
    "float": _Column(pa.float64(), float),
    "bool": _Column(pa.bool_(), lambda raw: raw == b"true"),
    "string": _Column(pa.string(), _decode_text),
    "json": _Column(pa.string(), _text),
}


def _value(raw: bytes, column: _Column) -> Any:
    return None if raw == b"null" else column.read(raw)


def _array(values: list[msgspec.Raw | None], column: _Column) -> pa.Array:
    typed = [None if raw is None else _value(bytes(raw), column) for raw in values]
    return pa.array(typed, column.type)


# ------------------------------------------------------------------------- lines


def _read_blocks(listing: Listing) -> Iterator[list[Line]]:
    for path in listing.paths:
        try:
            with open_text(listing.fs, path) as file:
                yield from _decoded(listing, path, file)
        except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
            raise SourceError(
                listing.url, f"{path} cannot be read: {error}."
            ) from error


def _decoded(listing: Listing, path: str, file: IO[bytes]) -> Iterator[list[Line]]:
    number = 0
    for block in _whole_lines(file):
        texts = block.split(b"\n")
        try:
            block.decode()  # values are passed on unread, and must be UTF-8 all the same
            yield [_decode_line(text) for text in texts if text.strip()]
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise _explained(listing, path, texts, number) from None
        number += len(texts)


def _whole_lines(file: IO[bytes]) -> Iterator[bytes]:
    """Give the file in pieces that end with a line, without the last line end."""
    rest = file.read(len(_BOM)).removeprefix(_BOM)
    while block := file.read(BLOCK_BYTES):
        lines, newline, tail = block.rpartition(b"\n")
        if newline:
            yield rest + lines
            rest = tail
        else:
            rest += block
    if rest:
        yield rest


def _explained(
    listing: Listing, path: str, texts: list[bytes], number: int
) -> SourceError:
    for at, text in enumerate(texts, number + 1):
        try:
            text.decode()
            if text.strip():
                _decode_line(text)
        except UnicodeDecodeError:
            wrong = not_utf8(listing.url, path, open_text(listing.fs, path))
            return wrong or SourceError(listing.url, f"{path} changed meanwhile.")
        except RecursionError:
            return SourceError(
                listing.url, f"{path}, line {at:,} is nested too deeply."
            )
        except msgspec.ValidationError as error:
            return SourceError(
                listing.url, f"{path}, line {at:,} is not a JSON object: {error}."
            )
        except msgspec.DecodeError as error:
            return SourceError(
                listing.url, f"{path}, line {at:,} is not JSON: {error}."
            )
    return SourceError(listing.url, f"{path} changed while it was being read.")
