"""Before anything is sent: find the run directory, stage the rows, cut the chunks."""

from __future__ import annotations

import contextlib
import hashlib
import json
import uuid
from collections.abc import Generator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from batchkit_tasks.answers.formats import answer_format, output_columns
from batchkit_tasks.chunks import cut_rows
from batchkit_tasks.engine import Run, request_builder
from batchkit_tasks.errors import BatchkitError, ParameterError
from batchkit_tasks.ground import storage
from batchkit_tasks.ground.table_files import moved_into_place
from batchkit_tasks.output.table import own_columns
from batchkit_tasks.parameters import Job
from batchkit_tasks.parts.output_counts import NOT_SENT
from batchkit_tasks.plans.hashes import Hashes, all_differ, leaders
from batchkit_tasks.plans.taking_over import TakenOver, forget, take_over
from batchkit_tasks.plans.weighing import (
    ROWS_PER_GROUP,
    Weighed,
    max_body_bytes,
    weigh_rows,
    write_rows,
)
from batchkit_tasks.pricing.decisions import note_asked
from batchkit_tasks.pricing.table import read_price_table
from batchkit_tasks.records import Chunk, Plan, Round, Source, SourceFile
from batchkit_tasks.run_dir import RunDir
from batchkit_tasks.tables import sources

HOME_VARIABLE: Final = "BATCHKIT_HOME"
"""Environment variable: where runs over tables in memory are kept."""


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
    with _within_reach("output", job.output):
        _check_output(job, source.identity)
        run = RunDir(_run_url(job, source.identity, flow_run_id, folder))
        is_new = run.plan() is None
    if is_new:
        # Not before: to know the columns of a CSV is to read all of it.
        check_job(job, own_columns(source.schema))
        with _within_reach("output", job.output):
            run.prepare()
        table = sources.stage(source, run.input_url)
        run.create_plan(_plan(run, job, source.identity, table, flow_run_id))
    note_asked(run, job.budget_usd)
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
    with _within_reach(HOME_VARIABLE, folder):
        run = RunDir(_run_url(job, identity, None, folder))
        is_new = run.plan() is None
        if is_new:
            run.prepare()
    if is_new:
        job = job.model_copy(update={"output": storage.join(run.url, "output.parquet")})
        with moved_into_place(run.input_url) as file:
            pq.write_table(
                table, file, row_group_size=ROWS_PER_GROUP, compression="zstd"
            )
        staged = SourceFile(run.input_url, 0, "staged", table.num_rows)
        run.create_plan(_plan(run, job, identity, (staged,), None))
    note_asked(run, job.budget_usd)
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
    read_price_table(job.advanced.prices)
    if job.advanced.id_column and job.advanced.id_column not in schema.names:
        columns = ", ".join(schema.names)
        raise ParameterError(
            "advanced.id_column",
            f"the table has no column {job.advanced.id_column!r}; it has {columns}.",
        )


def plan_first_round(run: Run) -> Round:
    """Build every request once to weigh it, and cut the table into chunks.

    Leaves `rows-….parquet` and `rounds/00001.json`; both are kept as they are from then
    on, so a retry is safe and finds them.
    """
    found = run.rounds()
    if found:
        return found[0]
    run.check_source()
    token = uuid.uuid4().hex[:8]
    weighed = weigh_rows(run)
    shared = _share(run, weighed, token)
    write_rows(run.dir.rows_url(token), weighed, shared.same_as)
    chunks = _cut(run.job, shared.sent, weighed.sizes[shared.sent])
    planned = Round(
        number=1,
        chunks=tuple(chunks),
        unsent=weighed.unsent,
        token=token,
        duplicates=shared.duplicates,
        reused=shared.reused,
        taken_over_rows=shared.taken.box_rows,
        notes=tuple(shared.taken.notes),
    )
    kept = run.dir.create_round(planned)
    if kept.token != token:
        forget(run, token)
    return kept


def _cut(job: Job, rows: np.ndarray, sizes: np.ndarray) -> list[Chunk]:
    """Cut rows into chunks; where the cache is primed, the first has one row."""
    limits: dict[str, Any] = {
        "max_requests": job.advanced.rows_per_batch,
        "max_bytes": max_body_bytes(job),
    }
    if job.advanced.cache != "primed" or len(rows) < 2:
        return cut_rows(rows, sizes, **limits)
    rest = cut_rows(rows[1:], sizes[1:], used_counts={1}, first_number=1, **limits)
    return [*cut_rows(rows[:1], sizes[:1], **limits), *rest]


@dataclass(frozen=True, slots=True)
class _Shared:
    """Which rows are sent, and where the others get their answers."""

    sent: np.ndarray
    same_as: np.ndarray
    """For each row the position of the first equal one; -1: none."""
    taken: TakenOver
    duplicates: int
    reused: int


def _share(run: Run, weighed: Weighed, token: str) -> _Shared:
    """Find rows with equal requests, and rows whose answer was paid for before."""
    # Arrays as long as the table: none is copied that can be used as it is.
    once = run.job.advanced.identical == "once"
    asked = weighed.asked
    same_as = np.full(len(weighed.sizes), -1, dtype=np.int64)
    own = first = asked
    found = _hashes_of(weighed, asked)
    if once and not all_differ(found):
        first = asked[leaders(found)]
        follow = first != asked
        same_as[asked[follow]] = first[follow]
        own = asked[~follow]
    taken = take_over(run, _hashes_of(weighed, own), own, token, once=once)
    reused, sent = 0, own
    if len(taken.positions):
        reused = int(np.isin(first, taken.positions).sum())
        sent = np.setdiff1d(own, taken.positions, assume_unique=True)
    return _Shared(
        sent=sent,
        same_as=same_as,
        taken=taken,
        duplicates=len(asked) - len(own) - (reused - len(taken.positions)),
        reused=reused,
    )


def _hashes_of(weighed: Weighed, positions: np.ndarray) -> Hashes:
    is_all = len(positions) == len(weighed.hashes)
    return weighed.hashes if is_all else weighed.hashes[positions]


# --------------------------------------------------------------------- identity


def _run_url(
    job: Job, source: Source, flow_run_id: str | None, folder: str | None
) -> str:
    key = run_key(job, source)
    if job.advanced.reuse == "nothing":
        key = f"{key}-{(flow_run_id or uuid.uuid4().hex)[:8]}"
    home = folder or _home(job)
    return _not_over(storage.join(home, _output_name(job), key))


def run_directory(job: Job, source: Source) -> str:
    """Where a job over this table is kept, if it was started; without `reuse` never."""
    url = storage.join(_home(job), _output_name(job), run_key(job, source))
    return _not_over(url)


def _home(job: Job) -> str:
    return storage.join(storage.parent(job.output), "_batchkit")


def _output_name(job: Job) -> str:
    return job.output.rstrip("/").rpartition("/")[2]


def _not_over(url: str) -> str:
    """The run directory itself, or the next one where that run is over and had failed
    rows: asking again means to send those again. All else is taken over from it."""
    number = 1
    while True:
        at = url if number == 1 else f"{url}-{number}"
        summary = RunDir(at).summary() or {}
        by_status = summary.get("by_status", {})
        if not any(rows for name, rows in by_status.items() if name not in SETTLED):
            return at
        number += 1


SETTLED: Final = frozenset(("succeeded", *NOT_SENT))
"""Statuses of rows that are not sent when the same is asked again."""


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
    if advanced.identical != "once":
        facts["identical"] = advanced.identical
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


@contextlib.contextmanager
def _within_reach(parameter: str, url: str) -> Generator[None]:
    """Call what goes wrong a fault of the parameter: it is the first that is done there."""
    try:
        yield
    except BatchkitError:
        raise
    except Exception as error:  # the libraries of stores raise errors of their own
        raise ParameterError(parameter, f"{url} cannot be used: {error}.") from error


def _check_output(job: Job, source: Source) -> None:
    ours = storage.filesystem(job.output)[1]
    if any(storage.filesystem(file.url)[1] == ours for file in source.files):
        raise ParameterError("output", f"{job.output} is the source itself.")
    if not job.output.endswith((".parquet", ".pq")):
        raise ParameterError("output", f"{job.output} does not end in .parquet.")


def _table_digest(table: pa.Table) -> str:
    """Digest of a table's content, whatever its chunking."""
    digest = hashlib.blake2b(table.schema.serialize().to_pybytes(), digest_size=16)
    for batch in table.combine_chunks().to_batches(max_chunksize=ROWS_PER_GROUP):
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, batch.schema) as writer:
            writer.write_batch(batch)
        digest.update(sink.getvalue())
    return digest.hexdigest()
