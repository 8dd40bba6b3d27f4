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

from batchkit_tasks import hashes
from batchkit_tasks.engine import Run, used_columns
from batchkit_tasks.limits import API_MAX_BATCH_BYTES, MAX_BATCH_BYTES_MARGIN
from batchkit_tasks.parameters import Job
from batchkit_tasks.requests import BODY_OVERHEAD, Built, item_bytes, request_hash
from batchkit_tasks.table_files import moved_into_place

WINDOW_ROWS: Final = 10_000
"""Rows in memory at a time while planning."""

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


@dataclass(slots=True)
class Weighed:
    """What is known about every row before anything is sent."""

    hashes: hashes.Hashes
    """Zeros where there is no request."""
    sizes: np.ndarray
    """Bytes on the wire; 0 where the row is not sent."""
    unsent: dict[str, int] = field(default_factory=dict[str, int])
    """Rows that are not sent, by status."""
    marks: list[tuple[pa.Array, pa.Array] | None] = field(
        default_factory=list[tuple[pa.Array, pa.Array] | None]
    )
    """Status and reason of each window, None where all its rows are sent."""

    @property
    def asked(self) -> np.ndarray:
        """Positions of the rows that need an answer."""
        return np.flatnonzero(self.sizes)


def weigh_rows(run: Run) -> Weighed:
    """Build all requests of a run, in windows."""
    largest = max_body_bytes(run.job) - BODY_OVERHEAD
    count = run.plan.rows
    sample = _sample(count, run.job.sample_rows)
    rows = run.rows()
    weighed = Weighed(np.zeros((count, 2), np.uint64), np.zeros(count, np.int64))
    columns = used_columns(run.requests, rows.schema)
    for start, table in rows.windows(WINDOW_ROWS, columns):
        window = _Window(start, run.requests.build(table), largest, sample)
        window.add_to(weighed)
    return weighed


def write_rows(url: str, weighed: Weighed, same_as: np.ndarray) -> None:
    """Write `rows.parquet`.

    Args:
        same_as: For each row the position of the first equal one; -1: none.
    """
    with (
        moved_into_place(url) as file,
        pq.ParquetWriter(file, ROWS_SCHEMA, compression="zstd") as writer,
    ):
        for number, marks in enumerate(weighed.marks):
            start = number * WINDOW_ROWS
            window = slice(start, start + WINDOW_ROWS)
            found, same = weighed.hashes[window], same_as[window]
            nothing = pa.nulls(len(found), pa.string())
            status, reason = marks or (nothing, nothing)
            columns = [
                _hash_column(found),
                status.cast(pa.string()),
                reason.cast(pa.string()),
                pa.array(same, pa.int64(), mask=same < 0),
            ]
            writer.write_table(pa.Table.from_arrays(columns, schema=ROWS_SCHEMA))


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
        self.statuses: list[str | None] = [None] * len(params)
        self.reasons: list[str | None] = [None] * len(params)
        self.hashes: list[bytes] = []
        self.sizes: list[int] = []
        outside = _outside(start, len(params), sample)
        for row, request in enumerate(params):
            size = 0 if request is None else item_bytes(start + row, request)
            self.hashes.append(bytes(16) if request is None else request_hash(request))
            if request is None:
                self._leave_out(row, "skipped", built.reasons[row])
            elif outside is not None and outside[row]:
                self._leave_out(row, "skipped", "not in the sample")
            elif size > largest:
                self._leave_out(row, "oversized", _oversized(size, largest))
            self.sizes.append(0 if self.statuses[row] else size)

    def add_to(self, weighed: Weighed) -> None:
        """Keep the window's numbers."""
        stop = self.start + self.rows
        weighed.hashes[self.start : stop] = hashes.from_bytes(self.hashes)
        weighed.sizes[self.start : stop] = self.sizes
        found = {status for status in self.statuses if status}
        for status in found:
            count = self.statuses.count(status)
            weighed.unsent[status] = weighed.unsent.get(status, 0) + count
        words: Any = self.statuses, self.reasons
        marks = tuple(pa.array(each, _WORDS) for each in words) if found else None
        weighed.marks.append(marks)  # type: ignore[arg-type]

    def _leave_out(self, row: int, status: str, reason: str) -> None:
        self.statuses[row], self.reasons[row] = status, reason


def _outside(start: int, rows: int, sample: np.ndarray | None) -> list[bool] | None:
    if sample is None:
        return None
    return list(~np.isin(np.arange(start, start + rows), sample))


def _oversized(size: int, largest: int) -> str:
    return (
        f"the request has {size:,} bytes; at most {largest:,} fit into a message batch "
        "(mb_per_batch)"
    )
