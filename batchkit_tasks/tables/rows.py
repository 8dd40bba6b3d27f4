"""Rows of a table in Parquet files, by position and in bounded memory.

Rows are decoded in small batches and kept only as long as a window needs them: a file
whose rows are all in one row group (pandas writes a million rows per group) must not
be in memory at once. Reading forward decodes every row once; going back decodes again
from the start of the row group.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from itertools import accumulate
from typing import Any, Final, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from batchkit_tasks.errors import RecordUnreadableError
from batchkit_tasks.ground import storage
from batchkit_tasks.ground.memory import note_freed
from batchkit_tasks.records import SourceFile

BATCH_BYTES: Final = 2_000_000
"""Rows are decoded in batches of about this many bytes."""

MAX_BATCH_ROWS: Final = 8_192
"""Caps a batch where the encoded size misleads (repeated long texts)."""

READ_BYTES: Final = 1 << 20
"""Files are read in pieces of this size."""

OPEN_FILES: Final = 4
"""Files kept open, each with the rows that were read last."""


class Rows:
    """The rows of several Parquet files, as one table. For one thread at a time."""

    def __init__(
        self,
        files: Sequence[SourceFile],
        *,
        storage_options: dict[str, Any] | None = None,
    ) -> None:
        """Name the files.

        Args:
            files: In the order of their rows. Where `rows` is negative, the file is
                opened to count them.
        """
        self._files = tuple(files)
        self._options = storage_options
        self._readers: OrderedDict[tuple[int, tuple[str, ...]], _Reader] = OrderedDict()
        counts = (f.rows if f.rows >= 0 else self._count(f) for f in self._files)
        self._starts = [0, *accumulate(counts)]

    @property
    def num_rows(self) -> int:
        """Rows of all files together."""
        return self._starts[-1]

    @cached_property
    def schema(self) -> pa.Schema:
        """The first file's schema, with its metadata (pandas keeps its index there)."""
        with _open(self._files[0], self._options) as file:
            return file.schema_arrow

    def read(
        self, start: int, stop: int, columns: Sequence[str] | None = None
    ) -> pa.Table:
        """Give the rows from `start` (inclusive) to `stop` (exclusive).

        Args:
            columns: Names of the columns wanted, in this order; None: all.

        Raises:
            ValueError: There are no such rows.
        """
        if not 0 <= start <= stop <= self.num_rows:
            raise ValueError(f"rows {start} to {stop} of {self.num_rows}")
        names = tuple(self.schema.names if columns is None else columns)
        return self._table(self._read(start, stop, names), names)

    def windows(
        self, rows_per_window: int, columns: Sequence[str] | None = None
    ) -> Iterator[tuple[int, pa.Table]]:
        """Give all rows in order, some at a time, each with its first row's position."""
        for start in range(0, self.num_rows, rows_per_window):
            stop = min(start + rows_per_window, self.num_rows)
            yield start, self.read(start, stop, columns)

    def take(
        self, ranges: Iterable[tuple[int, int]], columns: Sequence[str] | None = None
    ) -> pa.Table:
        """Give the rows of ascending ranges (start inclusive, stop exclusive).

        Raises:
            ValueError: There are no such rows.
        """
        names = list(self.schema.names if columns is None else columns)
        read = names or self.schema.names[:1]
        at_once = self._reader(0, tuple(read)).batch_rows
        tables = [self.read(0, 0, read)]
        for group in _near_each_other(ranges, at_once):
            start, stop = group[0][0], group[-1][1]
            table = self.read(start, stop, read)
            wanted = np.concatenate([np.arange(a, b) for a, b in group]) - start
            # Few rows are copied: a slice keeps all rows around it in memory.
            whole = len(table) == len(wanted) >= at_once
            tables.append(table if whole else table.take(wanted))
        return pa.concat_tables(tables).select(names)

    def close(self) -> None:
        """Close the files; reading opens them again."""
        while self._readers:
            self._readers.popitem()[1].close()

    def _read(
        self, start: int, stop: int, names: tuple[str, ...]
    ) -> list[pa.RecordBatch]:
        parts: list[pa.RecordBatch] = []
        at = bisect_right(self._starts, start) - 1
        while start < stop:
            first, end = self._starts[at], min(stop, self._starts[at + 1])
            if start < end:
                parts += self._reader(at, names).read(start - first, end - first)
                start = end
            at += 1
        return parts

    def _table(self, parts: list[pa.RecordBatch], names: tuple[str, ...]) -> pa.Table:
        fields = [self.schema.field(name) for name in names or self.schema.names[:1]]
        schema = pa.schema(fields).with_metadata(cast("Any", self.schema.metadata))
        # Files of one table may differ in metadata: the first one's counts.
        same = [
            pa.RecordBatch.from_arrays(part.columns, schema=schema) for part in parts
        ]
        return pa.Table.from_batches(same, schema).select(list(names))

    def _reader(self, at: int, names: tuple[str, ...]) -> _Reader:
        key = (at, names)
        if key not in self._readers:
            while len(self._readers) >= OPEN_FILES:
                self._readers.popitem(last=False)[1].close()
            columns = list(names) or self.schema.names[:1]
            file = self._files[at]
            self._readers[key] = _Reader(_open(file, self._options), columns, file.url)
        self._readers.move_to_end(key)
        return self._readers[key]

    def _count(self, file: SourceFile) -> int:
        with _open(file, self._options) as opened:
            return opened.metadata.num_rows


def _near_each_other(
    ranges: Iterable[tuple[int, int]], most_rows: int
) -> Iterator[list[tuple[int, int]]]:
    """Group ranges that lie within so many rows; a longer one is a group of its own."""
    group: list[tuple[int, int]] = []
    for start, stop in ranges:
        if group and stop - group[0][0] > most_rows:
            yield group
            group = []
        group.append((start, stop))
    if group:
        yield group


def _open(file: SourceFile, options: dict[str, Any] | None) -> pq.ParquetFile:
    fs, path = storage.filesystem(file.url, options)
    return open_parquet(fs, path)


def open_parquet(fs: Any, path: str) -> pq.ParquetFile:
    """Open a Parquet file; closing it closes what lies beneath."""
    raw = fs.open(path, "rb")
    try:
        # By default a column of a row group is read whole: hundreds of megabytes.
        return pq.ParquetFile(
            pa.PythonFile(raw, "r"), buffer_size=READ_BYTES, pre_buffer=False
        )
    except BaseException:
        raw.close()
        raise


class _Reader:
    """Some columns of one file: decodes forward, keeps what the last read touched."""

    def __init__(self, file: pq.ParquetFile, columns: list[str], url: str) -> None:
        self._file, self._columns, self._url = file, columns, url
        metadata = file.metadata
        groups = [metadata.row_group(at) for at in range(metadata.num_row_groups)]
        self._starts = [0, *accumulate(group.num_rows for group in groups)]
        encoded = sum(group.total_byte_size for group in groups)
        row_bytes = max(encoded // max(metadata.num_rows, 1), 1)
        self.batch_rows = max(1, min(BATCH_BYTES // row_bytes, MAX_BATCH_ROWS))
        self._restart(0)

    def read(self, start: int, stop: int) -> list[pa.RecordBatch]:
        """Give rows of this file, at least one, as slices of decoded batches."""
        self._move_to(start)
        while self._end < stop:
            batch = next(self._batches, None)
            if batch is None:
                raise RecordUnreadableError(
                    self._url, "it has fewer rows than when the run was planned"
                )
            self._kept.append((self._end, batch))
            self._end += batch.num_rows
            self._drop_before(start)
        return [
            batch.slice(
                max(start - at, 0), min(stop, at + batch.num_rows) - max(start, at)
            )
            for at, batch in self._kept
            if at < stop and at + batch.num_rows > start
        ]

    def close(self) -> None:
        self._kept.clear()
        self._file.close(force=True)

    def _move_to(self, start: int) -> None:
        """Decode from the row group of `start`, unless reading on is no longer a way."""
        first = self._kept[0][0] if self._kept else self._end
        group = bisect_right(self._starts, start) - 1
        if start < first or self._starts[group] > self._end:
            self._restart(group)
        self._drop_before(start)

    def _restart(self, group: int) -> None:
        self._kept: list[tuple[int, pa.RecordBatch]] = []
        self._end = self._starts[group]
        groups = list(range(group, len(self._starts) - 1))
        self._batches: Iterator[pa.RecordBatch] = iter(())
        if groups:
            self._batches = self._file.iter_batches(
                self.batch_rows, row_groups=groups, columns=self._columns
            )

    def _drop_before(self, start: int) -> None:
        while self._kept and self._kept[0][0] + self._kept[0][1].num_rows <= start:
            _, batch = self._kept.pop(0)
            note_freed(batch.nbytes)
