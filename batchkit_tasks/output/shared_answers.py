"""Answers that several rows share, at hand however far apart the rows are.

The first of several equal rows is sent, and the others may be anywhere behind it. To
open its part for each of them would decode parts over and over; to keep them all would
take the memory of the table. So the shared answers are gathered once, in one pass over
the parts, in a file on this machine that is mapped into memory.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa

from batchkit_tasks.parts.joined import Positions, in_order
from batchkit_tasks.tables.rows import Rows

BATCH_ROWS: Final = 10_000
"""Answers gathered at a time."""


class SharedAnswers:
    """A context manager; the file is gone afterwards.

    Args:
        fates: `rows.parquet`, whose `same_as` names the rows that share their answer.
        read: Gives the answers at ascending positions.
    """

    def __init__(self, fates: Rows, read: Callable[[Positions], pa.Table]) -> None:
        self._read = read
        self._leaders = _leaders(fates)
        self._batches: list[Any] = []

    def __enter__(self) -> SharedAnswers:
        self._folder = tempfile.TemporaryDirectory(prefix="batchkit-")
        if len(self._leaders):
            self._gather(Path(self._folder.name) / "shared.arrow")
        return self

    def __exit__(self, *exception: object) -> None:
        self._batches = []
        self._folder.cleanup()

    def read(self, positions: Positions) -> pa.Table:
        """Give one row per position, in that order; each must be shared."""
        at = np.searchsorted(self._leaders, positions)
        batches = at // BATCH_ROWS
        pieces: list[pa.RecordBatch] = []
        order: list[Positions] = []
        for number in np.unique(batches).tolist():
            rows = np.flatnonzero(batches == number)
            pieces.append(self._batches[number].take(pa.array(at[rows] % BATCH_ROWS)))
            order.append(rows)
        return in_order(pa.Table.from_batches(pieces), np.concatenate(order))

    def _gather(self, path: Path) -> None:
        schema = self._read(self._leaders[:0]).schema
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, schema) as file:
            for start in range(0, len(self._leaders), BATCH_ROWS):
                table = self._read(self._leaders[start : start + BATCH_ROWS])
                for batch in table.combine_chunks().to_batches():
                    file.write_batch(batch)
        reader = pa.ipc.open_file(pa.memory_map(str(path)))
        count = reader.num_record_batches
        self._batches = [reader.get_batch(number) for number in range(count)]


def _leaders(fates: Rows) -> Positions:
    """The positions of rows that others follow, ascending."""
    found = np.empty(0, dtype=np.int64)
    if "same_as" not in fates.schema.names:
        return found
    for start in range(0, fates.num_rows, 10 * BATCH_ROWS):
        stop = min(start + 10 * BATCH_ROWS, fates.num_rows)
        table = fates.read(start, stop, ["same_as"])
        named = table["same_as"].cast(pa.int64()).drop_null().to_numpy()
        found = np.union1d(found, named)
    return found
