"""One Parquet table, written in row groups and moved into place at the end."""

from __future__ import annotations

import contextlib
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from batchkit_tasks.ground.arrow_compute import pc
from batchkit_tasks.ground.memory import note_freed
from batchkit_tasks.ground.table_files import moved_into_place

COMPRESSION: Final = "zstd"
"""Measured on mixed text of 600 bytes a row, at zstd's default level 1, against snappy:
files a third smaller, writing a fifth slower, reading not slower."""


class TableWriter:
    """Write one Parquet table; a context manager.

    The table appears under its name when the block ends well. When it ends with an
    exception nothing appears, and what was there before stays.

    Args:
        url: Path or fsspec URL of the table. Missing folders are made.
        schema: Of the whole table, with its metadata.
        rows_per_group: What is appended is gathered into row groups of this size.
    """

    def __init__(self, url: str, schema: pa.Schema, *, rows_per_group: int) -> None:
        self.url, self.schema = url, schema
        self.rows = 0
        self._rows_per_group = rows_per_group
        self._waiting: list[pa.Table] = []
        self._stack = contextlib.ExitStack()
        self._file: Any = None
        self._writer: Any = None

    def __enter__(self) -> TableWriter:
        self._file = self._stack.enter_context(moved_into_place(self.url))
        return self

    def append(self, table: pa.Table) -> None:
        """Add rows at the end."""
        self.rows += table.num_rows
        self._waiting.append(table)
        if sum(piece.num_rows for piece in self._waiting) >= self._rows_per_group:
            self._write_group()

    def __exit__(self, *exception: Any) -> None:
        with self._stack:
            if exception[0] is not None:
                raise exception[1]
            self._write_group()
            if self._writer is None:
                self._writer = self._begin(self.schema.empty_table())

    def _begin(self, first: pa.Table) -> Any:
        words: Any = dictionary_columns(first)
        writer = pq.ParquetWriter(
            self._file, self.schema, compression=COMPRESSION, use_dictionary=words
        )
        return self._stack.enter_context(writer)

    def _write_group(self) -> None:
        if not self._waiting:
            return
        # One dictionary per row group: with several, Arrow writes plain values, and
        # categories come back in another order.
        table = pa.concat_tables(self._waiting).unify_dictionaries()
        self._waiting = []
        if table.num_rows:
            self._writer = self._writer or self._begin(table)
            self._writer.write_table(table, row_group_size=table.num_rows)
            note_freed(table.nbytes)


def dictionary_columns(first: pa.Table) -> list[str]:
    """Name the columns to write with a dictionary, by the table's first rows.

    Where texts hardly repeat, looking for repetitions costs more than writing them.
    Types that are not texts, and what lies in lists, get a dictionary as is usual.
    """
    sample = first.slice(0, SAMPLE_ROWS)
    return [path for path in _leaves(first.schema) if not _hardly_repeats(sample, path)]


SAMPLE_ROWS: Final = 1_000
"""Rows that are looked at."""


def _leaves(schema: pa.Schema) -> list[str]:
    """Paths of a table's columns in Parquet: a struct has one for each of its fields."""
    written: Any = []
    pq.write_table(
        schema.empty_table(), pa.BufferOutputStream(), metadata_collector=written
    )
    columns = written[0].schema
    return [columns.column(at).path for at in range(len(columns))]


def _hardly_repeats(sample: pa.Table, path: str) -> bool:
    if path in sample.column_names:
        column: Any = sample.column(path)
    else:
        name, _, field = path.rpartition(".")
        if name not in sample.column_names:
            return False
        column = sample.column(name)
        if not pa.types.is_struct(column.type):
            return False
        column = pc.struct_field(column, field)
    kind = column.type
    texts = (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary,
             pa.types.is_fixed_size_binary)  # fmt: skip
    if not any(matches(kind) for matches in texts) or len(column) < 2:
        return False
    return 2 * pc.count_distinct(column).as_py() > len(column)
