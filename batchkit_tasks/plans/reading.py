"""Rows of a run's table, some at a time and in bounded memory.

Parquet is read forward: to reach the middle of a row group, all of it before is decoded,
and pandas writes a million rows into one. So the steps of one process share the open
table of a run. They borrow it one after the other; as chunks are sent in the order of
their rows, it is decoded about once for all of them.
"""

from __future__ import annotations

import contextlib
import threading
from collections import OrderedDict
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import pyarrow as pa

from batchkit_tasks.engine import Run
from batchkit_tasks.prompts.requests import item_bytes
from batchkit_tasks.records import Chunk
from batchkit_tasks.tables.rows import Rows

WINDOW_BYTES: Final = 1 << 20
"""About the size of the requests that are built at a time: what fits into the caches
of a processor is built in half the time, and fresh memory costs as much as the work."""

WINDOW_ROWS: Final = 2_000
"""Rows that are built at a time, at most."""

OPEN_TABLES: Final = 2
"""Runs whose tables a process keeps open."""


@dataclass(slots=True)
class _Table:
    rows: Rows
    lock: threading.Lock = field(default_factory=threading.Lock)


_open: OrderedDict[str, _Table] = OrderedDict()
_opening = threading.Lock()


@contextlib.contextmanager
def borrowed_rows(run: Run) -> Generator[Rows]:
    """The run's table, for one borrower at a time."""
    with _opening:
        if run.url not in _open:
            _open[run.url] = _Table(run.rows())
        _open.move_to_end(run.url)
        table = _open[run.url]
        while len(_open) > OPEN_TABLES:
            _open.popitem(last=False)
    with table.lock:
        yield table.rows


def give_back(run: Run) -> None:
    """Close the run's table, once no more chunks are built from it."""
    with _opening:
        table = _open.pop(run.url, None)
    if table is not None:
        with table.lock:
            table.rows.close()


def window_rows(row_bytes: float) -> int:
    """How many rows to build at a time, if a request has so many bytes."""
    return max(1, min(WINDOW_ROWS, int(WINDOW_BYTES / max(row_bytes, 1.0))))


def read_chunk(
    run: Run, chunk: Chunk, positions: np.ndarray, columns: tuple[str, ...]
) -> Iterator[tuple[np.ndarray, pa.Table]]:
    """The rows of a chunk in windows of about `WINDOW_BYTES`; others wait meanwhile."""
    size = window_rows(chunk.body_bytes / chunk.requests)
    with borrowed_rows(run) as rows:
        yield from _windows(rows, positions, columns, size)


def read_positions(
    run: Run, positions: np.ndarray, columns: tuple[str, ...]
) -> Iterator[tuple[np.ndarray, pa.Table]]:
    """The rows at ascending positions, in windows."""
    return _windows(run.rows(), positions, columns, WINDOW_ROWS)


def _windows(
    rows: Rows, positions: np.ndarray, columns: tuple[str, ...], size: int
) -> Iterator[tuple[np.ndarray, pa.Table]]:
    names = list(columns) or rows.schema.names[:1]
    for at in range(0, len(positions), size):
        window = positions[at : at + size]
        ranges = as_ranges(window)
        if len(ranges) == 1:
            yield window, rows.read(*ranges[0], names)
        else:
            yield window, rows.take(ranges, names)


def item_sizes(run: Run, positions: np.ndarray, max_tokens: int) -> np.ndarray:
    """Bytes on the wire of the requests of some rows, in the order given."""
    builder = run.requests.with_max_tokens(max_tokens) if max_tokens else run.requests
    sizes: list[int] = []
    for window, table in read_positions(run, positions, builder.columns):
        params = builder.build(table).params
        sizes += [
            item_bytes(int(p), q) for p, q in zip(window, params, strict=True) if q
        ]
    return np.array(sizes, dtype=np.int64)


def as_ranges(positions: np.ndarray) -> list[tuple[int, int]]:
    """Ascending positions as ranges."""
    breaks = np.flatnonzero(np.diff(positions) != 1) + 1
    spans = np.split(positions, breaks)
    return [(int(s[0]), int(s[-1]) + 1) for s in spans if len(s)]
