"""The results of a run by position: what each row got, from parts in any order.

A part holds the results of one chunk. Chunks of one round share no position; where a
row was sent in several rounds, the last round counts. Parts are opened when their
rows are asked for, and only a few are kept, none of them behind the rows that were read
last: memory does not grow with the table.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from batchkit_tasks.errors import RecordUnreadableError
from batchkit_tasks.ground import storage
from batchkit_tasks.ground.arrow_compute import pc
from batchkit_tasks.parts.output_counts import COST_FIELD, TOKEN_FIELDS
from batchkit_tasks.records import Chunk

MAX_OPEN_PARTS: Final = 4
"""Parts kept in memory. A window of rows touches about two of the first round and one
of each later round; a part has up to 10,000 answers."""

Positions = npt.NDArray[np.int64]

META_FIELDS: Final = (
    pa.field("batch_id", pa.string()),
    pa.field("custom_id", pa.string()),
    pa.field("model", pa.string()),
    pa.field("stop_reason", pa.string()),
    *TOKEN_FIELDS,
    COST_FIELD,
    pa.field("attempts", pa.int64()),
)
"""Where a row's answer comes from, and what it cost."""

PART_HEAD: Final = ("position", "status", "error_type", "error")
"""The first columns of every part; the answer's own follow."""

OWN_COLUMNS: Final = frozenset(("batch_id", "custom_id", "attempts"))
"""Columns that a part has only if they differ from row to row."""


@dataclass(frozen=True, slots=True)
class Part:
    """The results of one chunk, and the batch they come from.

    Where the file has columns `batch_id`, `custom_id` or `attempts` of its own, they
    win: so a part can hold answers that were taken over from several batches. Else
    `attempts` is how often the rows were sent, expiries included.
    """

    chunk: Chunk
    round: int
    url: str
    batch_id: str
    """Empty where there was no batch."""
    nonce: str
    """Of the custom_ids; empty where there are none."""


@dataclass(frozen=True, slots=True)
class Absent:
    """A chunk that has no part, because it was not sent or not collected, and why."""

    chunk: Chunk
    status: str
    reason: str


class Parts:
    """All parts of a run, read by position.

    Args:
        parts: In any order. Chunks of one round must not overlap.
        answer_fields: The answer columns of the parts.
        absent: Chunks without a part; they count only for rows that no part has.

    Raises:
        ValueError: Two chunks of one round share a position.
    """

    def __init__(
        self,
        parts: Sequence[Part],
        answer_fields: Sequence[pa.Field],
        absent: Sequence[Absent] = (),
    ) -> None:
        self.answer_fields = tuple(answer_fields)
        self.answer_names = tuple(f"answer {i}" for i in range(len(answer_fields)))
        named = zip(answer_fields, self.answer_names, strict=True)
        self.schema = pa.schema(
            [
                pa.field("status", pa.string()),
                pa.field("error", pa.string()),
                *(field.with_name(name) for field, name in named),
                *META_FIELDS,
            ]
        )
        self._parts, self._absent = tuple(parts), tuple(absent)
        rounds = sorted({part.round for part in parts}, reverse=True)
        self._rounds = [
            _Spans({i: p.chunk for i, p in enumerate(parts) if p.round == number})
            for number in rounds
        ]
        self._absent_spans = _Spans({i: a.chunk for i, a in enumerate(absent)})
        self._open: OrderedDict[int, _OpenPart] = OrderedDict()

    @property
    def bytes_per_request(self) -> float:
        """Bytes of a request, in the chunk where they are longest on average."""
        sizes = (p.chunk.body_bytes / max(p.chunk.requests, 1) for p in self._parts)
        return max(sizes, default=0.0)

    @property
    def in_memory(self) -> int:
        """Parts that are in memory now; at most `MAX_OPEN_PARTS`."""
        return len(self._open)

    def read(self, positions: Positions) -> pa.Table:
        """Return one row per position, in that order; nulls where no part has it.

        Fastest where each call goes on behind the one before.

        Raises:
            RecordUnreadableError: A part is not there or not readable.
        """
        owners = self._owners(positions)
        pieces: list[pa.Table] = []
        order: list[Positions] = []
        for owner in np.unique(owners).tolist():
            rows = np.flatnonzero(owners == owner)
            pieces.append(self._piece(owner, positions[rows]))
            order.append(rows)
        if not pieces:
            return self.schema.empty_table()
        self._forget_until(int(positions.max()))
        return in_order(pa.concat_tables(pieces), np.concatenate(order))

    def absent(self, positions: Positions) -> tuple[pa.Array, pa.Array]:
        """Status and reason of the rows whose chunk has no part; else null."""
        owners = self._absent_spans.find(positions)
        found = _indices(owners, missing=owners < 0)
        statuses = pa.array([a.status for a in self._absent], pa.string())
        reasons = pa.array([a.reason for a in self._absent], pa.string())
        return statuses.take(found), reasons.take(found)

    # ------------------------------------------------------------------ inside

    def _owners(self, positions: Positions) -> Positions:
        """The part that counts for each position; -1 where there is none."""
        owners = np.full(len(positions), -1, dtype=np.int64)
        for spans in self._rounds:
            owners = np.where(owners < 0, spans.find(positions), owners)
        return owners

    def _piece(self, owner: int, positions: Positions) -> pa.Table:
        if owner < 0:
            nulls = [pa.nulls(len(positions), field.type) for field in self.schema]
            return pa.Table.from_arrays(nulls, schema=self.schema)
        part = self._opened(owner)
        rows = np.searchsorted(part.positions, positions)
        rows = np.minimum(rows, len(part.positions) - 1)
        lost = part.positions[rows] != positions
        if not lost.any() and (np.diff(rows) == 1).all():
            return part.table.slice(int(rows[0]), len(rows))  # nothing is copied
        return part.table.take(_indices(rows, missing=lost))

    def _opened(self, owner: int) -> _OpenPart:
        found = self._open.pop(owner, None)
        if found is None:
            while len(self._open) >= MAX_OPEN_PARTS:
                self._open.popitem(last=False)
            found = self._load(self._parts[owner])
        self._open[owner] = found
        return found

    def _forget_until(self, position: int) -> None:
        """Keep only parts with rows behind a position."""
        for owner, part in list(self._open.items()):
            if part.positions[-1] <= position:
                del self._open[owner]

    def _load(self, part: Part) -> _OpenPart:
        table = _read_part(part.url)
        columns = self._named(part.url, table)
        positions = columns["position"].to_numpy()
        if not len(positions) or (np.diff(positions) <= 0).any():
            raise RecordUnreadableError(part.url, "its rows are not in order")
        arrays = [
            columns[field.name]
            if field.name in columns
            else _own(part, field, positions)
            for field in self.schema
        ]
        return _OpenPart(positions, pa.Table.from_arrays(arrays, schema=self.schema))

    def _named(self, url: str, table: pa.Table) -> dict[str, pa.ChunkedArray]:
        """Columns of a part by our names: an answer may be called `model` as well."""
        last = len(PART_HEAD) + len(self.answer_names)
        names = [*PART_HEAD, *self.answer_names, *table.column_names[last:]]
        lacking = {"status", *(f.name for f in META_FIELDS)} - OWN_COLUMNS - set(names)
        if tuple(table.column_names[: len(PART_HEAD)]) != PART_HEAD or lacking:
            problem = (
                f"it lacks {', '.join(sorted(lacking))}" if lacking else "not a part"
            )
            raise RecordUnreadableError(url, problem)
        return dict(zip(names, table.columns, strict=True))


@dataclass(frozen=True, slots=True)
class _OpenPart:
    """A part in memory: ascending positions, and one row of the table for each."""

    positions: Positions
    table: pa.Table


class _Spans:
    """Which of several chunks holds a position."""

    def __init__(self, chunks: dict[int, Chunk]) -> None:
        pieces = [np.empty((0, 3), np.int64)]
        for owner, chunk in chunks.items():
            spans = np.array(chunk.ranges, dtype=np.int64).reshape(-1, 2)
            pieces.append(np.column_stack([spans, np.full(len(spans), owner)]))
        columns = np.concatenate(pieces)
        ordered = columns[np.argsort(columns[:, 0], kind="stable")]
        self._starts, self._stops, self._owners = np.ascontiguousarray(ordered.T)
        if (self._starts[1:] < self._stops[:-1]).any():
            raise ValueError("two chunks of one round share rows")

    def find(self, positions: Positions) -> Positions:
        """The chunk of each position, or -1."""
        if not len(self._starts):
            return np.full(len(positions), -1, dtype=np.int64)
        at = np.searchsorted(self._starts, positions, side="right") - 1
        inside = (at >= 0) & (positions < self._stops[at])
        return np.where(inside, self._owners[at], -1)


def _indices(rows: Positions, missing: Any = None) -> Any:
    return pa.array(rows, pa.int64(), mask=missing)


def _read_part(url: str) -> pa.Table:
    data = storage.read(url)
    if data is None:
        raise RecordUnreadableError(url, "it is not there any more")
    try:
        return pq.ParquetFile(pa.BufferReader(data)).read()
    except (pa.ArrowException, OSError) as error:
        raise RecordUnreadableError(url, str(error)) from error


def _own(part: Part, field: pa.Field, positions: Positions) -> pa.Array:
    """The column that is the same for the whole part, or follows from the position."""
    if field.name == "custom_id" and part.nonce:
        numbers = pa.array(positions).cast(pa.string())
        return pc.binary_join_element_wise(pa.scalar(part.nonce), numbers, "-")
    times_sent = part.chunk.attempt + part.chunk.expiries
    constants: dict[str, Any] = {
        "batch_id": part.batch_id or None,
        "custom_id": None,
        "attempts": times_sent,
    }
    return pa.repeat(pa.scalar(constants[field.name], field.type), len(positions))


def in_order(table: pa.Table, rows: Positions) -> pa.Table:
    """Put row i of the table at place rows[i]."""
    if (rows[:-1] < rows[1:]).all():
        return table
    back = np.empty_like(rows)
    back[rows] = np.arange(len(rows))
    return table.take(_indices(back))
