"""The table that a run reads: found, identified, staged as Parquet, read by position.

Laws: a table's identity tells every change of it; what is read has the columns of the
source, in order; whatever is wrong with a source is said in one sentence, before
anything is sent.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from batchkit_tasks.errors import SourceChangedError, SourceError
from batchkit_tasks.ground.table_files import moved_into_place
from batchkit_tasks.records import Source, SourceFile
from batchkit_tasks.tables import csv_files, jsonl_files
from batchkit_tasks.tables.rows import Rows, open_parquet
from batchkit_tasks.tables.source_files import Listing, list_source
from batchkit_tasks.tables.text_tables import TextTable

__all__ = ["OpenSource", "Rows", "check_unchanged", "open_source", "stage"]

STAGED_GROUP_ROWS: Final = 10_000
"""Most rows of a row group in a staged file."""

_READERS: Final = {"csv": csv_files.scan, "jsonl": jsonl_files.scan}


@dataclass(frozen=True)
class OpenSource:
    """A table that was found, and what tells it from every other one."""

    identity: Source
    """For CSV and JSON Lines without rows and schema: these would take a full reading,
    and size and version tell a change as well."""
    listing: Listing
    storage_options: dict[str, Any] | None = None
    parquet_schema: pa.Schema | None = None

    @cached_property
    def schema(self) -> pa.Schema:
        """The columns and their types. CSV and JSON Lines are read through for them.

        Raises:
            SourceError: The files cannot be read as what they are named, or are empty.
        """
        return self.parquet_schema or self.text_table.schema

    @cached_property
    def text_table(self) -> TextTable:
        """The columns of CSV or JSON Lines, known after one reading of all rows."""
        return _READERS[self.identity.kind](self.listing)


def open_source(
    url: str, *, storage_options: dict[str, Any] | None = None
) -> OpenSource:
    """Find a table: Parquet, CSV or JSON Lines; a file, a folder or a glob.

    Several files are one table, in the order of their names.

    Args:
        url: A local path or an fsspec URL.
        storage_options: For the filesystem; never recorded.

    Raises:
        SourceError: It is not there, of an unknown kind, or empty; or its files differ
            in kind or columns.
    """
    listing = list_source(url, storage_options)
    if listing.kind == "parquet":
        return _open_parquet(listing, storage_options)
    identity = Source(listing.url, listing.kind, listing.files, -1, "")
    return OpenSource(identity, listing, storage_options)


def stage(source: OpenSource, to_url: str) -> tuple[SourceFile, ...]:
    """Give the Parquet files of a table; CSV and JSON Lines are converted into one.

    Converting streams: a few megabytes are in memory at a time, and the file appears
    under its name when it is whole. Safe to call again. Parquet is not copied.

    Raises:
        SourceError: The files cannot be read, or changed meanwhile. No file is left.
    """
    if source.parquet_schema is not None:
        return source.identity.files
    table = source.text_table
    rows = 0
    with moved_into_place(to_url) as file:
        with pq.ParquetWriter(file, table.schema, compression="zstd") as writer:
            for batch in table.batches():
                writer.write_table(batch, row_group_size=STAGED_GROUP_ROWS)
                rows += batch.num_rows
        change = _change(source.identity, source.storage_options)
        if change or rows != table.rows:
            raise SourceError(
                source.identity.url, "it changed while it was being read."
            )
    staged = list_source(to_url).files[0]
    return (SourceFile(staged.url, staged.size, staged.version, rows),)


def check_unchanged(
    source: Source, run: str, *, storage_options: dict[str, Any] | None = None
) -> None:
    """Refuse to go on when the table is not the one that the run was planned for.

    Args:
        run: URL of the run directory, for the message.

    Raises:
        SourceChangedError: A file is gone, new, or another than it was.
    """
    if source.kind == "frame":
        return
    change = _change(source, storage_options)
    if change:
        raise SourceChangedError(source.url, change, run)


def _change(source: Source, options: dict[str, Any] | None) -> str | None:
    """Say what is different now; None: nothing."""
    try:
        now = {file.url: file for file in list_source(source.url, options).files}
    except SourceError as error:
        return f"cannot be found as it was ({error.problem.rstrip('.')})"
    before = {file.url: file for file in source.files}
    for url, file in before.items():
        if url not in now:
            return f"has lost the file {url}"
        if now[url].size != file.size:
            was, size = f"{file.size:,}", f"{now[url].size:,}"
            return f"had {was} bytes and has {size} now (file {url})"
        if now[url].version != file.version:
            return f"was written again ({file.version} then, {now[url].version} now)"
    added = sorted(now.keys() - before.keys())
    return f"has a new file {added[0]}" if added else None


# ---------------------------------------------------------------------- Parquet


def _open_parquet(listing: Listing, options: dict[str, Any] | None) -> OpenSource:
    files: list[SourceFile] = []
    first: pa.Schema | None = None
    for file, path in zip(listing.files, listing.paths, strict=True):
        schema, rows = _read_footer(listing, path)
        first = schema if first is None else first
        _check_same_columns(listing, path, first, schema)
        files.append(SourceFile(file.url, file.size, file.version, rows))
    assert first is not None
    _check_columns(listing.url, first)
    rows = sum(file.rows for file in files)
    if rows == 0:
        raise SourceError(listing.url, "it has no rows.")
    identity = Source(listing.url, "parquet", tuple(files), rows, _digest(first))
    return OpenSource(identity, listing, options, first)


def _read_footer(listing: Listing, path: str) -> tuple[pa.Schema, int]:
    try:
        with open_parquet(listing.fs, path) as file:
            return file.schema_arrow, file.metadata.num_rows
    except (pa.ArrowException, OSError) as error:
        raise SourceError(
            listing.url, f"{path} cannot be read as Parquet: {error}."
        ) from error


def _check_columns(url: str, schema: pa.Schema) -> None:
    if not schema.names:
        raise SourceError(url, "it has no columns.")
    double = next((n for n in schema.names if schema.names.count(n) > 1), None)
    if double is not None:
        raise SourceError(url, f"it has more than one column named {double!r}.")


def _check_same_columns(
    listing: Listing, path: str, first: pa.Schema, schema: pa.Schema
) -> None:
    for at in range(max(len(first), len(schema))):
        there, here = (s.field(at) if at < len(s) else None for s in (first, schema))
        if there is None or here is None or not there.equals(here):
            raise SourceError(
                listing.url,
                f"{path} differs from the first file: column {at + 1} is "
                f"{_describe(here)}, not {_describe(there)}. All files of a table must "
                "have the same columns, in order.",
            )


def _describe(field: pa.Field | None) -> str:
    if field is None:
        return "missing"
    return f"{field.name!r} ({field.type}{'' if field.nullable else ', never null'})"


def _digest(schema: pa.Schema) -> str:
    """Digest of names and types; metadata does not count."""
    text = "\n".join(
        f"{field.name!r}: {field.type} {field.nullable}" for field in schema
    )
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
