"""Before anything is sent: find the run directory, stage the rows, cut the chunks."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from batchkit_tasks import sources, storage
from batchkit_tasks.answers import answer_format, output_columns
from batchkit_tasks.chunks import cut_rows
from batchkit_tasks.engine import Run, request_builder, used_columns
from batchkit_tasks.errors import ParameterError
from batchkit_tasks.limits import API_MAX_BATCH_BYTES, MAX_BATCH_BYTES_MARGIN
from batchkit_tasks.output import own_columns
from batchkit_tasks.parameters import Job
from batchkit_tasks.records import Plan, Round, Source, SourceFile
from batchkit_tasks.requests import BODY_OVERHEAD, Built, item_bytes, request_hash
from batchkit_tasks.run_dir import RunDir
from batchkit_tasks.table_files import moved_into_place

WINDOW_ROWS: Final = 10_000
"""Rows in memory at a time while planning."""

ROWS_SCHEMA: Final = pa.schema(
    [
        pa.field("request_hash", pa.binary(16)),
        pa.field("status", pa.string()),
        pa.field("reason", pa.string()),
    ]
)
"""`rows.parquet`: the hash of each row's request, or why none is sent."""


def open_run(
    job: Job, *, flow_run_id: str | None = None, folder: str | None = None
) -> str:
    """Find or create the run directory of a job over a file, and stage its rows.

    Args:
        flow_run_id: Kept in the plan; tells runs apart where `reuse="nothing"`.
        folder: Where run directories are kept; by default beside the output.

    Returns:
        The run's URL: the same for the same job over the same table.

    Raises:
        InputError: Something about the source, prompt, answer or output cannot work.
            Nothing was sent.
    """
    source = sources.open_source(job.source)
    _check_output(job, source.identity)
    run = RunDir(_run_url(job, source.identity, flow_run_id, folder))
    if run.plan() is None:
        # Not before: to know the columns of a CSV is to read all of it.
        check_job(job, own_columns(source.schema))
        run.prepare()
        table = sources.stage(source, run.input_url)
        run.create_plan(_plan(run, job, source.identity, table, flow_run_id))
    return run.url


def open_frame_run(job: Job, table: pa.Table, *, folder: str) -> str:
    """Find or create the run directory of a job over a table in memory.

    Raises:
        InputError: Something about the table, prompt or answer cannot work.
    """
    check_job(job, table.schema)
    if table.num_rows == 0:
        raise ParameterError("df", "The table has no rows.")
    identity = Source(
        url="DataFrame",
        kind="frame",
        files=(),
        rows=table.num_rows,
        schema_digest=_table_digest(table),
    )
    run = RunDir(_run_url(job, identity, None, folder))
    if run.plan() is None:
        run.prepare()
        job = job.model_copy(update={"output": storage.join(run.url, "output.parquet")})
        with moved_into_place(run.input_url) as file:
            pq.write_table(table, file, row_group_size=WINDOW_ROWS, compression="zstd")
        staged = SourceFile(run.input_url, 0, "staged", table.num_rows)
        run.create_plan(_plan(run, job, identity, (staged,), None))
    return run.url


def check_job(job: Job, schema: pa.Schema) -> None:
    """Refuse what cannot work, before anything is sent.

    Raises:
        InputError: The one thing to mend, in one sentence.
    """
    answer = answer_format(job.answer)
    builder = request_builder(job, answer)
    output_columns(schema.names, job.answer)
    builder.check(schema)
    if job.advanced.id_column and job.advanced.id_column not in schema.names:
        columns = ", ".join(schema.names)
        raise ParameterError(
            "advanced.id_column",
            f"the table has no column {job.advanced.id_column!r}; it has {columns}.",
        )


def plan_first_round(run: Run) -> Round:
    """Build every request once to weigh it, and cut the table into chunks.

    Leaves `rows.parquet` and `rounds/00001.json`; both are kept as they are from then
    on, so a retry is safe and finds them.
    """
    found = run.rounds()
    if found:
        return found[0]
    run.check_source()
    weighed = _weigh_rows(run)
    chunks = cut_rows(
        weighed.positions,
        weighed.sizes,
        max_requests=run.job.advanced.rows_per_batch,
        max_bytes=max_body_bytes(run.job),
    )
    return run.dir.create_round(
        Round(number=1, chunks=tuple(chunks), unsent=weighed.unsent)
    )


def max_body_bytes(job: Job) -> int:
    """The largest body that is sent."""
    wanted = job.advanced.mb_per_batch * 1_000_000
    return min(wanted, API_MAX_BATCH_BYTES - MAX_BATCH_BYTES_MARGIN)


# --------------------------------------------------------------------- identity


def _run_url(
    job: Job, source: Source, flow_run_id: str | None, folder: str | None
) -> str:
    key = run_key(job, source)
    if job.advanced.reuse == "nothing":
        key = f"{key}-{(flow_run_id or uuid.uuid4().hex)[:8]}"
    name = job.output.rstrip("/").rpartition("/")[2]
    home = folder or storage.join(storage.parent(job.output), "_batchkit")
    return storage.join(home, name, key)


def run_key(job: Job, source: Source) -> str:
    """Digest of all that determines a run's requests: the same job finds itself."""
    advanced = job.advanced
    facts: dict[str, Any] = {
        "source": [source.url, source.rows, source.schema_digest],
        "files": [[f.url, f.size, f.version] for f in source.files],
        "prompt": job.prompt,
        "model": job.model,
        "answer": job.answer.model_dump(),
        "sample_rows": job.sample_rows,
        "system": advanced.system,
        "max_tokens": advanced.max_tokens,
        "request": advanced.request,
    }
    text = json.dumps(facts, sort_keys=True, ensure_ascii=False)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def _plan(
    run: RunDir,
    job: Job,
    source: Source,
    table: tuple[SourceFile, ...],
    flow_run_id: str | None,
) -> Plan:
    return Plan(
        run_key=run.url.rpartition("/")[2],
        created_at=datetime.now(UTC),
        job=job.model_dump(mode="json"),
        source=source,
        table=table,
        rows=sources.Rows(table).num_rows,
        flow_run_id=flow_run_id,
    )


def _check_output(job: Job, source: Source) -> None:
    ours = storage.filesystem(job.output)[1]
    if any(storage.filesystem(file.url)[1] == ours for file in source.files):
        raise ParameterError("output", f"{job.output} is the source itself.")
    if not job.output.endswith((".parquet", ".pq")):
        raise ParameterError("output", f"{job.output} does not end in .parquet.")


def _table_digest(table: pa.Table) -> str:
    """Digest of a table's content, whatever its chunking."""
    digest = hashlib.blake2b(table.schema.serialize().to_pybytes(), digest_size=16)
    for batch in table.combine_chunks().to_batches(max_chunksize=WINDOW_ROWS):
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, batch.schema) as writer:
            writer.write_batch(batch)
        digest.update(sink.getvalue())
    return digest.hexdigest()


# --------------------------------------------------------------------- weighing


@dataclass(frozen=True, slots=True)
class _Weighed:
    """Which rows are sent and how many bytes each needs on the wire."""

    positions: np.ndarray
    sizes: np.ndarray
    unsent: dict[str, int]


def _weigh_rows(run: Run) -> _Weighed:
    largest = max_body_bytes(run.job) - BODY_OVERHEAD
    sample = _sample(run.plan.rows, run.job.sample_rows)
    rows = run.rows()
    positions: list[np.ndarray] = []
    sizes: list[np.ndarray] = []
    unsent: dict[str, int] = {}
    with (
        moved_into_place(run.dir.rows_url) as file,
        pq.ParquetWriter(file, ROWS_SCHEMA, compression="zstd") as writer,
    ):
        columns = used_columns(run.requests, rows.schema)
        for start, table in rows.windows(WINDOW_ROWS, columns):
            fate = _Fates(start, run.requests.build(table), largest, sample)
            writer.write_table(fate.table())
            positions.append(fate.positions)
            sizes.append(fate.sizes)
            for status, count in fate.unsent.items():
                unsent[status] = unsent.get(status, 0) + count
    return _Weighed(np.concatenate(positions), np.concatenate(sizes), unsent)


def _sample(rows: int, wanted: int) -> np.ndarray | None:
    """Positions spread evenly over the table; None for all of them."""
    if not 0 < wanted < rows:
        return None
    return np.unique(np.linspace(0, rows - 1, wanted).round().astype(np.int64))


class _Fates:
    """What becomes of the rows of one window: sent, or why not."""

    def __init__(
        self, start: int, built: Built, largest: int, sample: np.ndarray | None
    ) -> None:
        params = built.params
        self.hashes: list[bytes | None] = [None] * len(params)
        self.statuses: list[str | None] = [None] * len(params)
        self.reasons: list[str | None] = [None] * len(params)
        self.unsent: dict[str, int] = {}
        outside = _outside(start, len(params), sample)
        kept: list[int] = []
        weights: list[int] = []
        for row, request in enumerate(params):
            if request is None:
                self._leave_out(row, "skipped", built.reasons[row])
                continue
            self.hashes[row] = request_hash(request)
            size = item_bytes(start + row, request)
            if outside is not None and outside[row]:
                self._leave_out(row, "skipped", "not in the sample")
            elif size > largest:
                self._leave_out(row, "oversized", _oversized(size, largest))
            else:
                kept.append(start + row)
                weights.append(size)
        self.positions = np.array(kept, dtype=np.int64)
        self.sizes = np.array(weights, dtype=np.int64)

    def _leave_out(self, row: int, status: str, reason: str) -> None:
        self.statuses[row] = status
        self.reasons[row] = reason
        self.unsent[status] = self.unsent.get(status, 0) + 1

    def table(self) -> pa.Table:
        """The window's rows of `rows.parquet`."""
        columns: list[list[Any]] = [self.hashes, self.statuses, self.reasons]
        arrays = [
            pa.array(values, field.type)
            for values, field in zip(columns, ROWS_SCHEMA, strict=True)
        ]
        return pa.Table.from_arrays(arrays, schema=ROWS_SCHEMA)


def _outside(start: int, rows: int, sample: np.ndarray | None) -> list[bool] | None:
    if sample is None:
        return None
    window = np.arange(start, start + rows)
    return list(~np.isin(window, sample))


def _oversized(size: int, largest: int) -> str:
    return (
        f"the request has {size:,} bytes; at most {largest:,} fit into a message batch "
        "(mb_per_batch)"
    )


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


def read_positions(
    run: Run, positions: np.ndarray, columns: tuple[str, ...]
) -> Iterator[tuple[np.ndarray, pa.Table]]:
    """The rows at ascending positions, in windows."""
    rows = run.rows()
    names = list(columns) or rows.schema.names[:1]
    for at in range(0, len(positions), WINDOW_ROWS):
        window = positions[at : at + WINDOW_ROWS]
        yield window, rows.take(as_ranges(window), names)


def as_ranges(positions: np.ndarray) -> list[tuple[int, int]]:
    """Ascending positions as ranges."""
    breaks = np.flatnonzero(np.diff(positions) != 1) + 1
    spans = np.split(positions, breaks)
    return [(int(s[0]), int(s[-1]) + 1) for s in spans if len(s)]
