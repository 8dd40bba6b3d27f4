"""The output table: every input row, its answer, and what became of it.

One row in, one row out, in order. Rows come in windows and are joined to their
answers by position, so memory does not grow with the table. A row that has neither an
answer nor a reason for having none stops the writing: it must not vanish silently.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa

from batchkit_tasks.errors import RowsLostError
from batchkit_tasks.ground import storage
from batchkit_tasks.ground.arrow_compute import pc
from batchkit_tasks.ground.table_writer import TableWriter
from batchkit_tasks.output.pandas_metadata import with_columns, without_columns
from batchkit_tasks.output.shared_answers import SharedAnswers
from batchkit_tasks.parts.accounts import EarlierCosts
from batchkit_tasks.parts.joined import META_FIELDS, Parts, Positions, in_order
from batchkit_tasks.parts.output_counts import COST_FIELD, TOKEN_FIELDS, OutputCounts
from batchkit_tasks.tables.rows import Rows

ROWS_PER_GROUP: Final = 10_000
"""Rows of a window and of a row group, unless they are long."""

BYTES_PER_WINDOW: Final = 64_000_000
"""About how much request text a window may hold."""

STATUS: Final = pa.field("_status", pa.string())
ERROR: Final = pa.field("_error", pa.string())
META_STRUCT: Final = (*META_FIELDS, pa.field("request_hash", pa.binary(16)))
META: Final = pa.field("_meta", pa.struct(META_STRUCT))

FAILED_ROWS_KEY: Final = b"batchkit.failed_rows"
"""Schema metadata of a table of failed rows: its `_status` and `_error` are our own
marks, not columns of the user's, when it is fed in again."""


def failed_rows_url(url: str) -> str:
    """Name the table of failed rows that lies beside an output table."""
    folder, slash, name = url.rpartition("/")
    return f"{folder}{slash}{name.removesuffix('.parquet')}.failed.parquet"


def own_columns(schema: pa.Schema) -> pa.Schema:
    """The user's columns: all but the marks on a table of failed rows fed in again."""
    if FAILED_ROWS_KEY not in (schema.metadata or {}):
        return schema
    kept = without_columns(schema, (STATUS.name, ERROR.name))
    metadata: dict[Any, Any] = dict(kept.metadata)
    del metadata[FAILED_ROWS_KEY]
    return kept.with_metadata(metadata)


def write_table(
    *,
    rows: Rows,
    fates: Rows,
    parts: Parts,
    to_url: str,
    failed_url: str | None = None,
    notes: Mapping[str, str] | None = None,
    window_rows: int | None = None,
    earlier: EarlierCosts | None = None,
) -> OutputCounts:
    """Write the output table, and the failed rows beside it.

    Both are moved into place at the very end, the output last. Where no row failed, a
    table of failed rows from an earlier time is removed. Safe to repeat.

    Args:
        rows: The input table.
        fates: One row per input row: `request_hash`, and `status` and `reason` of rows
            that were not sent. Where it has `same_as`, a position, that row's answer is
            taken, at no cost: equal requests are sent once.
        parts: The results.
        to_url: Path or fsspec URL of the output.
        failed_url: Of the failed rows; by default `<stem>.failed.parquet` beside it.
        notes: Kept in the Parquet schema's metadata.
        window_rows: Rows in memory at a time, and in a row group.
        earlier: What rows cost in attempts before the one that counts.

    Raises:
        RowsLostError: A row has neither an answer nor a reason. Nothing was written.
        RecordUnreadableError: A part cannot be read. Nothing was written.
    """
    if fates.num_rows != rows.num_rows:
        both = sorted((fates.num_rows, rows.num_rows))
        raise RowsLostError(both[1] - both[0], both[:1], to_url)
    size = window_rows or _window_rows(parts)
    own = own_columns(rows.schema)
    new = [*parts.answer_fields, STATUS, ERROR, META]
    schema = _noted(with_columns(own, new), notes)
    counts = OutputCounts()
    costs = earlier or EarlierCosts()

    def read(positions: Positions) -> pa.Table:
        return costs.add_to(parts.read(positions), positions)

    with (
        SharedAnswers(fates, read) as shared,
        TableWriter(to_url, schema, rows_per_group=size) as output,
        _FailedRows(failed_url or failed_rows_url(to_url), own, size) as failed,
    ):
        for start in range(0, rows.num_rows, size):
            stop = min(start + size, rows.num_rows)
            sources = _Sources(parts, read, shared.read, counts)
            answers = _answers(fates.read(start, stop), sources, start, stop)
            _check_none_lost(answers, start, to_url)
            table = rows.read(start, stop, own.names)
            columns = [answers.column(name) for name in parts.answer_names]
            marks = [answers.column(STATUS.name), answers.column(ERROR.name)]
            meta = _meta(answers)
            output.append(_table([*table.columns, *columns, *marks, meta], schema))
            failed.append(table, marks)
            counts.add(marks[0], answers)
    return counts


# ------------------------------------------------------------------------ windows


def _window_rows(parts: Parts) -> int:
    """Fewer rows where they are long."""
    long = int(BYTES_PER_WINDOW / max(parts.bytes_per_request, 1.0))
    return max(100, min(ROWS_PER_GROUP, long))


@dataclass(frozen=True, slots=True)
class _Sources:
    """Where a window's answers come from."""

    parts: Parts
    read: Callable[[Positions], pa.Table]
    read_shared: Callable[[Positions], pa.Table]
    counts: OutputCounts


def _answers(fates: pa.Table, sources: _Sources, start: int, stop: int) -> pa.Table:
    """What became of the rows of a window: answers, marks and meta, one row each."""
    positions = np.arange(start, stop, dtype=np.int64)
    targets, follows = _targets(fates, positions)
    table = _read(sources, targets, follows)
    status, reason = sources.parts.absent(targets)
    unsent = pc.is_null(table.column("status"))
    marks = {
        STATUS.name: pc.coalesce(table.column("status"), fates.column("status"), status),
        ERROR.name: _texts(
            pc.if_else(unsent, pc.coalesce(fates.column("reason"), reason),
                       table.column("error"))
        ),
        "request_hash": fates.column("request_hash"),
    }  # fmt: skip
    for name, column in marks.items():
        table = table.append_column(name, column)
    at = table.schema.get_field_index("attempts")
    return table.set_column(at, "attempts", pc.fill_null(table.column("attempts"), 0))


def _targets(fates: pa.Table, positions: Positions) -> tuple[Positions, Positions]:
    """The position whose answer each row takes, and which rows take another's."""
    if "same_as" not in fates.column_names:
        return positions, positions[:0]
    same_as = fates.column("same_as").cast(pa.int64())
    targets = pc.coalesce(same_as, pa.chunked_array([positions])).to_numpy()
    return targets, np.flatnonzero(same_as.is_valid().to_numpy())


def _read(sources: _Sources, targets: Positions, follows: Positions) -> pa.Table:
    """The answers of rows in order, of which some follow another row."""
    if not len(follows):
        return sources.read(targets)
    own = np.setdiff1d(np.arange(len(targets)), follows, assume_unique=True)
    copies = sources.read_shared(targets[follows])
    sources.counts.shared_usd += pc.sum(copies.column(COST_FIELD.name)).as_py() or 0.0
    pieces = pa.concat_tables([sources.read(targets[own]), _at_no_cost(copies)])
    return in_order(pieces, np.concatenate([own, follows]))


def _at_no_cost(table: pa.Table) -> pa.Table:
    """Set what the rows used to zero, where it is known: it was paid for elsewhere."""
    for number in (*TOKEN_FIELDS, COST_FIELD):
        at = table.schema.get_field_index(number.name)
        column = table.column(at)
        zero = pa.scalar(0, number.type)
        free = pc.if_else(pc.is_valid(column), zero, column)
        table = table.set_column(at, number, free)
    return table


def _texts(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Null instead of an empty text."""
    return pc.if_else(pc.equal(column, ""), pa.scalar(None, pa.string()), column)


def _meta(answers: pa.Table) -> pa.Array:
    arrays = [answers.column(field.name).combine_chunks() for field in META_STRUCT]
    return pa.StructArray.from_arrays(arrays, fields=list(META_STRUCT))


def _table(
    columns: Sequence[pa.Array | pa.ChunkedArray], schema: pa.Schema
) -> pa.Table:
    return pa.Table.from_arrays(list(columns), schema=schema)


def _check_none_lost(answers: pa.Table, start: int, url: str) -> None:
    status = answers.column(STATUS.name)
    if status.null_count:
        lost = np.flatnonzero(pc.is_null(status).to_numpy()) + start
        raise RowsLostError(len(lost), lost[:5].tolist(), url)


def _noted(schema: pa.Schema, notes: Mapping[str, str] | None) -> pa.Schema:
    if not notes:
        return schema
    metadata: dict[bytes, bytes] = dict(schema.metadata or {})
    ours = {f"batchkit.{name}".encode(): text.encode() for name, text in notes.items()}
    return schema.with_metadata(metadata | ours)


# -------------------------------------------------------------------- failed rows


class _FailedRows:
    """The table of failed rows: begun with the first one, else removed."""

    def __init__(self, url: str, own: pa.Schema, size: int) -> None:
        schema = with_columns(own, [STATUS, ERROR])
        marked: dict[bytes, bytes] = {**(schema.metadata or {}), FAILED_ROWS_KEY: b"1"}
        self._schema = schema.with_metadata(marked)
        self._url, self._size = url, size
        self._stack = contextlib.ExitStack()
        self._writer: TableWriter | None = None

    def __enter__(self) -> _FailedRows:
        return self

    def append(self, table: pa.Table, marks: Sequence[pa.ChunkedArray]) -> None:
        """Keep those of the rows that did not succeed."""
        failed = pc.not_equal(marks[0], "succeeded")
        if not pc.any(failed).as_py():
            return
        if self._writer is None:
            writer = TableWriter(self._url, self._schema, rows_per_group=self._size)
            self._writer = self._stack.enter_context(writer)
        self._writer.append(
            _table([*table.columns, *marks], self._schema).filter(failed)
        )

    def __exit__(self, *exception: object) -> None:
        self._stack.__exit__(*exception)  # type: ignore[arg-type]
        if self._writer is None and exception[0] is None:
            storage.remove(self._url)
