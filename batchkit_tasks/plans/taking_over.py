"""Take over answers that were paid for before, instead of sending the rows again.

A row takes an answer whose request had the same hash and which succeeded. Earlier
answers lie in the order of another table: they are read once, part by part, thrown
into boxes by the new position, and each box is put in order. So memory holds hashes
and one box, never the answers of a run.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from batchkit_tasks.engine import Run
from batchkit_tasks.errors import RecordUnreadableError
from batchkit_tasks.ground import storage
from batchkit_tasks.ground.arrow_compute import pc
from batchkit_tasks.ground.table_files import moved_into_place
from batchkit_tasks.parts.joined import META_FIELDS, OWN_COLUMNS, PART_HEAD, Part, Parts
from batchkit_tasks.parts.output_counts import COST_FIELD, TOKEN_FIELDS
from batchkit_tasks.parts.run_parts import fates_of, parts_of
from batchkit_tasks.plans import hashes
from batchkit_tasks.plans.earlier import Neighbour, neighbours
from batchkit_tasks.results import part_schema
from batchkit_tasks.tables.rows import open_parquet

LEAST_BOX_ROWS: Final = 10_000
"""Rows of the new table for which one box holds the answers."""

MOST_BOXES: Final = 200
"""So many files are open at once; larger tables have larger boxes."""

_SUCCEEDED: Final = "succeeded"


@dataclass(slots=True)
class TakenOver:
    """Which rows have an answer from before, and what is to be said about it."""

    positions: np.ndarray
    box_rows: int
    notes: list[str] = field(default_factory=list[str])
    """Sentences for the log."""


def take_over(
    run: Run, found: hashes.Hashes, positions: np.ndarray, token: str, *, once: bool
) -> TakenOver:
    """Copy the earlier answers of these rows into the run directory.

    Args:
        found: Hashes of the rows that need an answer.
        positions: Where those rows are in the table.
        token: Names the files, which count only with the round of the same token.
        once: Whether equal requests may share an answer.
    """
    box_rows = max(LEAST_BOX_ROWS, -(-run.plan.rows // MOST_BOXES))
    taken = TakenOver(np.empty(0, np.int64), box_rows)
    if run.job.advanced.reuse == "nothing" or not len(positions):
        return taken
    wanted = hashes.Wanted(found, positions)
    matched: list[np.ndarray] = []
    with _Boxes(run, token, box_rows) as boxes:
        for table in _earlier_answers(run, wanted, taken.notes, once):
            matched.append(table["position"].to_numpy())
            boxes.add(table)
        boxes.close()
    if matched:
        taken.positions = np.sort(np.concatenate(matched))
    return taken


def forget(run: Run, token: str) -> None:
    """Remove what was taken over for a round that another process planned first."""
    for number in run.dir.taken_over(token):
        storage.remove(run.dir.taken_over_url(token, number))
    storage.remove(run.dir.rows_url(token))


# ------------------------------------------------------------------- where from


def _earlier_answers(
    run: Run, wanted: hashes.Wanted, notes: list[str], once: bool
) -> Iterator[pa.Table]:
    """Rows of `taken_over_schema`, in no order."""
    first = True
    for neighbour in neighbours(run):
        if not len(wanted):
            return
        if neighbour.differs:
            if first:
                notes.append(_differs_in_words(neighbour))
        else:
            yield from _from_run(run, neighbour, wanted, notes)
        first = False
    # The copies in an output cannot be told from answers of their own.
    if len(wanted) and once:
        yield from _from_output(run, wanted, notes)


def _differs_in_words(neighbour: Neighbour) -> str:
    what = " and ".join(neighbour.differs)
    verb = "differs" if len(neighbour.differs) == 1 else "differ"
    return (
        f"The {what} {verb} from the run of {neighbour.plan.created_at:%d %b %Y %H:%M} "
        "UTC: its answers are not taken over."
    )


def _from_run(
    run: Run, neighbour: Neighbour, wanted: hashes.Wanted, notes: list[str]
) -> Iterator[pa.Table]:
    other = neighbour.run
    try:
        if not other.rounds():
            return
        parts = parts_of(other)
        reader = Parts(parts, run.answer.fields)
        known = _all_hashes(other) if parts else None
        for part in parts:
            rows = _succeeded(part)
            theirs, ours = wanted.match(known[rows])  # type: ignore[index]
            if len(ours):
                order = np.argsort(theirs)
                table = reader.read(rows[theirs[order]])
                yield _taken(run, table, ours[order])
    except (RecordUnreadableError, OSError, pa.ArrowException) as problem:
        notes.append(f"Answers of {other.url} cannot be taken over: {problem}")


def _all_hashes(run: Run) -> hashes.Hashes:
    fates = fates_of(run)
    pieces = [
        hashes.from_column(table["request_hash"])
        for _, table in fates.windows(100_000, ["request_hash"])
    ]
    return np.concatenate(pieces)


def _succeeded(part: Part) -> np.ndarray:
    fs, path = storage.filesystem(part.url)
    table = pq.read_table(path, filesystem=fs, columns=["position", "status"])
    good = table.filter(pc.equal(table["status"], _SUCCEEDED))
    return good["position"].to_numpy()


def _from_output(
    run: Run, wanted: hashes.Wanted, notes: list[str]
) -> Iterator[pa.Table]:
    """The output table that is there already, where it is one of ours."""
    fs, path = storage.filesystem(run.job.output)
    fs.invalidate_cache()
    if not fs.exists(path):
        return
    try:
        file = open_parquet(fs, path)
    except (OSError, pa.ArrowException) as problem:
        notes.append(f"Answers of {run.job.output} cannot be read: {problem}")
        return
    try:
        if not _is_ours(file.schema_arrow, run):
            return
        for group in range(file.metadata.num_row_groups):
            columns = ["_status", "_meta.request_hash"]
            marks = file.read_row_group(group, columns)
            good = np.flatnonzero(pc.equal(marks["_status"], _SUCCEEDED).to_numpy())
            meta: Any = marks["_meta"].combine_chunks()
            known = hashes.from_column(meta.field("request_hash"))
            theirs, ours = wanted.match(known[good])
            if len(ours):
                names = [*run.answer.names, "_meta"]
                table = file.read_row_group(group, names)
                yield _of_output(run, table.take(_indices(good[theirs])), ours)
    finally:
        file.close(force=True)


def _is_ours(schema: pa.Schema, run: Run) -> bool:
    """Whether a table has our columns, with answers of the same types."""
    if not {"_status", "_meta"} <= set(schema.names):
        return False
    meta = schema.field("_meta").type
    names = {meta.field(i).name for i in range(meta.num_fields)}
    return {*(f.name for f in META_FIELDS), "request_hash"} <= names and all(
        name in schema.names and schema.field(name).type == field.type
        for name, field in zip(run.answer.names, run.answer.fields, strict=True)
    )


def _of_output(run: Run, table: pa.Table, positions: np.ndarray) -> pa.Table:
    meta: Any = table["_meta"].combine_chunks()
    columns = {f.name: meta.field(f.name) for f in META_FIELDS}
    for number, name in enumerate(run.answer.names):
        columns[f"answer {number}"] = table[name]
    columns["status"] = pa.repeat(_SUCCEEDED, table.num_rows)
    columns["error"] = pa.nulls(table.num_rows, pa.string())
    return _taken(run, pa.table(columns), positions)


# --------------------------------------------------------------------- what kept


def taken_over_schema(run: Run) -> pa.Schema:
    """A part, and the columns in which its rows differ from each other."""
    own = [f for f in META_FIELDS if f.name in OWN_COLUMNS]
    return pa.schema([*part_schema(run.answer), *own])


def _taken(run: Run, table: pa.Table, positions: np.ndarray) -> pa.Table:
    """Rows as `Parts` gives them, under their new positions and at no cost."""
    free = {f.name: f.type for f in (*TOKEN_FIELDS, COST_FIELD)}
    answers = [f"answer {number}" for number in range(len(run.answer.fields))]
    rest = taken_over_schema(run).names[len(PART_HEAD) + len(answers) :]
    columns: list[Any] = []
    schema = taken_over_schema(run)
    for name, each in zip([*PART_HEAD, *answers, *rest], schema, strict=True):
        if name == "position":
            columns.append(pa.array(positions, pa.int64()))
        elif name in free:
            zeros: Any = pa.scalar(0, free[name])
            columns.append(pa.repeat(zeros, len(positions)))
        elif name in table.column_names:
            columns.append(table[name])
        else:
            columns.append(pa.nulls(len(positions), each.type))
    return pa.Table.from_arrays(columns, schema=schema)


def _indices(rows: np.ndarray) -> Any:
    return pa.array(rows, pa.int64())


class _Boxes:
    """Rows thrown together by position on this machine's disk, then put in order."""

    def __init__(self, run: Run, token: str, box_rows: int) -> None:
        self._run, self._token, self._box_rows = run, token, box_rows
        self._schema = taken_over_schema(run)
        self._open: dict[int, tuple[Any, Any]] = {}

    def __enter__(self) -> _Boxes:
        self._folder = tempfile.TemporaryDirectory(prefix="batchkit-")
        return self

    def add(self, table: pa.Table) -> None:
        """Throw rows into their boxes."""
        boxes = table["position"].to_numpy() // self._box_rows
        for box in np.unique(boxes).tolist():
            rows = table.take(_indices(np.flatnonzero(boxes == box)))
            self._writer(box).write_table(rows)

    def close(self) -> None:
        """Put each box in order, into the run directory."""
        for box, (writer, sink) in sorted(self._open.items()):
            writer.close()
            sink.close()
            with pa.memory_map(self._path(box)) as source:
                table = pa.ipc.open_stream(source).read_all()
                table = table.take(pc.sort_indices(table["position"]))
            url = self._run.dir.taken_over_url(self._token, box)
            with moved_into_place(url) as file:
                pq.write_table(table, file, compression="zstd")
        self._open.clear()

    def __exit__(self, *exception: object) -> None:
        for writer, sink in self._open.values():
            writer.close()
            sink.close()
        self._folder.cleanup()

    def _writer(self, box: int) -> Any:
        if box not in self._open:
            sink = pa.OSFile(self._path(box), "wb")
            self._open[box] = pa.ipc.new_stream(sink, self._schema), sink
        return self._open[box][0]

    def _path(self, box: int) -> str:
        return str(Path(self._folder.name) / f"{box}.arrow")
