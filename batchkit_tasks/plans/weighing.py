"""Build every request once: what it weighs, what it hashes to, or why it is not sent.

What is kept for each row of the table is three numbers; texts are kept for rows that
are not sent, each different one once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from batchkit_tasks.engine import Run, used_columns
from batchkit_tasks.ground.table_files import moved_into_place
from batchkit_tasks.limits import API_MAX_BATCH_BYTES, MAX_BATCH_BYTES_MARGIN
from batchkit_tasks.parameters import Job
from batchkit_tasks.plans import hashes
from batchkit_tasks.plans.reading import window_rows
from batchkit_tasks.prompts.caching import CachedBuilder
from batchkit_tasks.prompts.requests import (
    BODY_OVERHEAD,
    Built,
    item_sizes,
    request_hashes,
)

FIRST_ROWS: Final = 100
"""Rows of the first window; the next ones have as many as their bytes allow."""

ROWS_PER_GROUP: Final = 10_000
"""Rows of a row group of `rows.parquet`, about."""

ROWS_SCHEMA: Final = pa.schema(
    [
        pa.field("request_hash", pa.binary(16)),
        pa.field("status", pa.string()),
        pa.field("reason", pa.string()),
        pa.field("same_as", pa.int64()),
    ]
)
"""`rows.parquet`: the hash of each row's request; why none is sent; and the first row
with an equal request, whose answer this row gets."""

_WORDS: Final = pa.dictionary(pa.int32(), pa.string())


@dataclass(frozen=True, slots=True)
class Marks:
    """Why rows from `start` to `stop` are not sent."""

    start: int
    stop: int
    words: tuple[pa.Array, pa.Array] | None
    """Status and reason of each row; None where all are sent."""


@dataclass(slots=True)
class Weighed:
    """What is known about every row before anything is sent."""

    hashes: hashes.Hashes
    """Zeros where there is no request."""
    sizes: np.ndarray
    """Bytes on the wire; 0 where the row is not sent."""
    unsent: dict[str, int] = field(default_factory=dict[str, int])
    """Rows that are not sent, by status."""
    marks: list[Marks] = field(default_factory=list["Marks"])
    """Of all rows, in their order."""

    @property
    def asked(self) -> np.ndarray:
        """Positions of the rows that need an answer."""
        return np.flatnonzero(self.sizes)


def weigh_rows(run: Run) -> Weighed:
    """Build all requests of a run, in windows."""
    mark = run.requests.overhead if isinstance(run.requests, CachedBuilder) else 0
    largest = max_body_bytes(run.job) - BODY_OVERHEAD - mark
    count = run.plan.rows
    sample = _sample(count, run.job.sample_rows)
    rows = run.rows()
    weighed = Weighed(np.zeros((count, 2), np.uint64), np.zeros(count, np.int64))
    columns = used_columns(run.requests, rows.schema)
    start, size = 0, FIRST_ROWS
    while start < count:
        stop = min(start + size, count)
        built = run.plain_requests.build(rows.read(start, stop, columns))
        window = _Window(start, built, largest, sample)
        window.add_to(weighed)
        size = min(2 * size, window_rows(float(window.sizes.mean())))
        start = stop
    rows.close()
    if mark:
        weighed.sizes[weighed.asked] += mark
    return weighed


def write_rows(url: str, weighed: Weighed, same_as: np.ndarray) -> None:
    """Write `rows.parquet`.

    Args:
        same_as: For each row the position of the first equal one; -1: none.
    """
    words: Any = ["status", "reason"]
    with (
        moved_into_place(url) as file,
        pq.ParquetWriter(
            file, ROWS_SCHEMA, compression="zstd", use_dictionary=words
        ) as writer,
    ):
        waiting: list[pa.Table] = []
        for marks in weighed.marks:
            waiting.append(_rows_table(weighed.hashes, same_as, marks))
            if sum(map(len, waiting)) >= ROWS_PER_GROUP:
                writer.write_table(pa.concat_tables(waiting))
                waiting.clear()
        writer.write_table(pa.concat_tables([ROWS_SCHEMA.empty_table(), *waiting]))


def _rows_table(found: hashes.Hashes, same_as: np.ndarray, marks: Marks) -> pa.Table:
    rows = slice(marks.start, marks.stop)
    nothing = pa.nulls(marks.stop - marks.start, pa.string())
    status, reason = marks.words or (nothing, nothing)
    same = same_as[rows]
    columns = [
        _hash_column(found[rows]),
        status.cast(pa.string()),
        reason.cast(pa.string()),
        pa.array(same, pa.int64(), mask=same < 0),
    ]
    return pa.Table.from_arrays(columns, schema=ROWS_SCHEMA)


def max_body_bytes(job: Job) -> int:
    """The largest body that is sent."""
    wanted = job.advanced.mb_per_batch * 1_000_000
    return min(wanted, API_MAX_BATCH_BYTES - MAX_BATCH_BYTES_MARGIN)


def _hash_column(found: hashes.Hashes) -> pa.Array:
    there: Any = found.any(axis=1)
    bitmap = pa.array(there).buffers()[1]
    data = pa.py_buffer(np.ascontiguousarray(found).tobytes())
    return pa.Array.from_buffers(pa.binary(16), len(found), [bitmap, data])


def _sample(rows: int, wanted: int) -> np.ndarray | None:
    """Positions spread evenly over the table; None for all of them."""
    if not 0 < wanted < rows:
        return None
    return np.unique(np.linspace(0, rows - 1, wanted).round().astype(np.int64))


class _Window:
    """What becomes of the rows of one window: sent, or why not."""

    def __init__(
        self, start: int, built: Built, largest: int, sample: np.ndarray | None
    ) -> None:
        params = built.params
        self.start, self.rows = start, len(params)
        self.marks: dict[int, tuple[str, str]] = {
            row: ("skipped", reason) for row, reason in built.reasons.items()
        }
        self.hashes = hashes.from_bytes(request_hashes(params))
        lengths = [len(request) if request else 0 for request in params]
        self.sizes = item_sizes(np.arange(start, start + self.rows), lengths)
        for row in _outside(start, self.rows, sample):
            self.marks.setdefault(row, ("skipped", "not in the sample"))
        for row in np.flatnonzero(self.sizes > largest).tolist():
            why = _oversized(int(self.sizes[row]), largest)
            self.marks.setdefault(row, ("oversized", why))
        self.sizes[list(self.marks)] = 0

    def add_to(self, weighed: Weighed) -> None:
        """Keep the window's numbers."""
        stop = self.start + self.rows
        weighed.hashes[self.start : stop] = self.hashes
        weighed.sizes[self.start : stop] = self.sizes
        for status, _ in self.marks.values():
            weighed.unsent[status] = weighed.unsent.get(status, 0) + 1
        weighed.marks.append(Marks(self.start, stop, self._words()))

    def _words(self) -> tuple[pa.Array, pa.Array] | None:
        if not self.marks:
            return None
        found = [self.marks.get(row, (None, None)) for row in range(self.rows)]
        status, reason = (pa.array(words, _WORDS) for words in zip(*found, strict=True))
        return status, reason


def _outside(start: int, rows: int, sample: np.ndarray | None) -> list[int]:
    if sample is None:
        return []
    return np.flatnonzero(~np.isin(np.arange(start, start + rows), sample)).tolist()


def _oversized(size: int, largest: int) -> str:
    return (
        f"the request has {size:,} bytes; at most {largest:,} fit into a message batch "
        "(mb_per_batch)"
    )
