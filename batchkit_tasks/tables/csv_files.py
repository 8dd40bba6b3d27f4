"""CSV: columns get a type only if every row fits it, and only if nothing is lost by it.

A reader that infers types from the first rows fails, or changes values, when later rows
differ. So all files are read twice: once to find each column's type over all rows,
once to convert. A column is

| type | if all its values are |
|---|---|
| int64 | integers as Python writes them: `007`, `+5` and numbers of more than 18 digits \
stay text |
| double | such numbers and decimal fractions; whole numbers of more than 15 digits stay \
text |
| bool | `true` or `false`, in this case, capitalized or in capitals |
| string | anything else, or nothing at all; dates stay text, exactly as they are |

An empty field is null, `""` is an empty text. `NA`, `N/A`, `NaN`, `nan`, `NULL`, `null`
and `None` are null in columns that are otherwise numbers or booleans, and text elsewhere.
Fields may hold line ends in quotes; empty lines are passed over.
"""

from __future__ import annotations

import csv
import io
import lzma
import re
import zlib
from collections.abc import Iterator
from typing import IO, Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pv

from batchkit_tasks.errors import SourceError
from batchkit_tasks.tables.source_files import Listing, delimiter, open_text
from batchkit_tasks.tables.text_tables import TextTable, not_utf8

BLOCK_BYTES: Final = 2_000_000
"""Read at a time."""

MAX_BLOCK_BYTES: Final = 1_024_000_000
"""Blocks grow up to this where a single row is larger than a block."""

_NULL: Final = "^(NA|N/A|NaN|nan|NULL|null|None)$"
_PATTERNS: Final = (
    (pa.int64(), "^(0|-?[1-9][0-9]{0,17})$"),
    (
        pa.float64(),
        r"^-?(0|[1-9][0-9]{0,14})(\.[0-9]{1,17})?([eE][+-]([0-9]{1,2}|1[0-9]{2}|2[0-8][0-9]))?$",
    ),
    (pa.bool_(), "^(true|True|TRUE|false|False|FALSE)$"),
)


def scan(listing: Listing) -> TextTable:
    """Read all rows once, to count them and to find the types that fit.

    Raises:
        SourceError: A line is ragged or not UTF-8, columns have equal names or differ
            between files, or there are no rows.
    """
    guesses: dict[str, _Guess] | None = None
    rows = 0
    for path in listing.paths:
        for batch in _read_texts(listing, path):
            if guesses is None:
                guesses = {name: _Guess() for name in batch.schema.names}
            elif batch.schema.names != list(guesses):
                raise SourceError(
                    listing.url, _other_columns(path, list(guesses), batch.schema.names)
                )
            for name, guess in guesses.items():
                guess.narrow(batch.column(name))
            rows += batch.num_rows
    if not rows or guesses is None:
        raise SourceError(listing.url, "it has no rows.")
    schema = pa.schema([pa.field(name, guess.type) for name, guess in guesses.items()])
    return TextTable(schema, rows, lambda: _convert(listing, schema))


def _other_columns(path: str, first: list[str], other: list[str]) -> str:
    return (
        f"{path} has the columns {', '.join(other)}, but the first file has "
        f"{', '.join(first)}. All files of a table must have the same columns, in order."
    )


class _Guess:
    """The types that all values of a column so far can have."""

    def __init__(self) -> None:
        self._candidates = list(_PATTERNS)
        self._seen = False

    @property
    def type(self) -> pa.DataType:
        if self._seen and self._candidates:
            return self._candidates[0][0]
        return pa.string()

    def narrow(self, texts: pa.Array) -> None:
        """Drop the types that do not fit these values."""
        if not self._candidates:
            return
        values = texts.drop_null()
        values = values.filter(pc.invert(pc.match_substring_regex(values, _NULL)))
        if not len(values):
            return
        self._seen = True
        # A first look at one value spares long texts the regular expressions.
        for some in (values[:1], values):
            self._candidates = [
                candidate
                for candidate in self._candidates
                if _all_fit(some, candidate[1])
            ]


def _all_fit(values: pa.Array, pattern: str) -> bool:
    return bool(pc.all(pc.match_substring_regex(values, pattern)).as_py())


# ------------------------------------------------------------------- second reading


def _convert(listing: Listing, schema: pa.Schema) -> Iterator[pa.Table]:
    for path in listing.paths:
        for batch in _read_texts(listing, path):
            try:
                columns = [_typed(batch.column(f.name), f.type) for f in schema]
            except (pa.ArrowInvalid, KeyError) as error:
                raise SourceError(
                    listing.url, "it changed while it was being read."
                ) from error
            yield pa.Table.from_arrays(columns, schema=schema)


def _typed(texts: pa.Array, kind: pa.DataType) -> pa.Array:
    if pa.types.is_string(kind):
        return texts
    is_null = pc.match_substring_regex(texts, _NULL)
    values = pc.if_else(is_null, pa.scalar(None, pa.string()), texts)
    return (pc.utf8_lower(values) if pa.types.is_boolean(kind) else values).cast(kind)


# ------------------------------------------------------------------------- as text


def _read_texts(listing: Listing, path: str) -> Iterator[pa.RecordBatch]:
    """Give all rows of a file as texts, in batches; an empty one at least."""
    try:
        yield from _read_growing(listing, path)
    except _UNREADABLE as error:
        raise _explained(listing, path, error) from error


_UNREADABLE: Final = (
    *(pa.ArrowException, UnicodeDecodeError, OSError),
    *(EOFError, zlib.error, lzma.LZMAError),  # cut or broken compression
)


def _read_growing(listing: Listing, path: str) -> Iterator[pa.RecordBatch]:
    """Read in blocks that double until the largest row fits into one."""
    done, block = 0, BLOCK_BYTES
    while True:
        skip = done
        try:
            for batch in _read_blocks(listing, path, block):
                fresh = batch.slice(min(skip, batch.num_rows))
                skip -= batch.num_rows - fresh.num_rows
                done += fresh.num_rows
                yield fresh
            return
        except pa.ArrowInvalid as error:
            block *= 2
            if "straddling" not in str(error) or block > MAX_BLOCK_BYTES:
                raise


def _read_blocks(listing: Listing, path: str, block: int) -> Iterator[pa.RecordBatch]:
    names = _header(listing, path, block)
    convert = pv.ConvertOptions(
        column_types={name: pa.string() for name in names},
        null_values=[""],
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
    )
    yield pa.RecordBatch.from_pylist(
        [], pa.schema([(name, pa.string()) for name in names])
    )
    last: str | None = None
    with _Remembering(open_text(listing.fs, path)) as file:
        for batch in _open_csv(file, path, block, convert):
            if batch.num_rows:
                last = batch.column(batch.num_columns - 1)[-1].as_py()
                yield batch
    if last and "\n" in last and not file.tail.rstrip(b"\r\n").endswith(b'"'):
        raise SourceError(
            listing.url,
            f"{path} has a quote that is never closed; it stands before {last[:40]!r} and "
            "makes one field of all that follows.",
        )


def _header(listing: Listing, path: str, block: int) -> list[str]:
    with _Remembering(open_text(listing.fs, path)) as file:
        names: list[str] = _open_csv(file, path, block, None).schema.names
    double = next((name for name in names if names.count(name) > 1), None)
    if double is not None:
        raise SourceError(
            listing.url, f"{path} has more than one column named {double!r}."
        )
    return names


def _open_csv(file: Any, path: str, block: int, convert: Any) -> pv.CSVStreamingReader:
    return pv.open_csv(
        file,
        # One thread: only then do messages have the number of the row.
        read_options=pv.ReadOptions(use_threads=False, block_size=block),
        parse_options=pv.ParseOptions(
            delimiter=delimiter(path), newlines_in_values=True
        ),
        convert_options=convert,
    )


class _Remembering(io.RawIOBase):
    """Passes a file on, and keeps its last bytes."""

    def __init__(self, inner: IO[bytes]) -> None:
        super().__init__()
        self._inner = inner
        self.tail = b""

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        data = self._inner.read(size)
        self.tail = (self.tail + data[-8:])[-8:]
        return data

    def close(self) -> None:
        self._inner.close()
        super().close()


# ---------------------------------------------------------------------- what is wrong


def _explained(listing: Listing, path: str, error: Exception) -> SourceError:
    """Say where a file cannot be read, looking through it again for the place."""
    if isinstance(error, pa.ArrowInvalid | UnicodeDecodeError):
        wrong = not_utf8(listing.url, path, open_text(listing.fs, path))
        if wrong:
            return wrong
    if "Empty CSV file" in str(error):
        return SourceError(listing.url, f"{path} has no rows.")
    ragged = re.search(r"Row #(\d+): Expected (\d+) columns, got (\d+)", str(error))
    if ragged:
        row, expected, got = map(int, ragged.groups())
        line = _line_of(listing, path, row)
        return SourceError(
            listing.url,
            f"{path}, {line}: {got} fields, but the header has {expected}.",
        )
    return SourceError(listing.url, f"{path} cannot be read as CSV: {error}.")


def _line_of(listing: Listing, path: str, row: int) -> str:
    """Name the line at which a row starts (the header is row 1)."""
    with open_text(listing.fs, path) as file:
        text = io.TextIOWrapper(file, "utf-8-sig", newline="")
        reader = csv.reader(text, delimiter=delimiter(path))
        start = 1
        try:
            for fields in reader:
                row -= bool(fields)
                if row == 0:
                    return f"line {start:,}"
                start = reader.line_num + 1
        except csv.Error:  # a field longer than Python's own limit
            pass
    return f"row {row:,} after line {start:,}"
