"""Fetch the results of one ended batch and keep them as a part."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pyarrow as pa
from msgspec.structs import replace

from batchkit_tasks import patience
from batchkit_tasks.api import Api
from batchkit_tasks.api.errors import Later
from batchkit_tasks.api.result_bytes import TornResults
from batchkit_tasks.batches import MessageBatch
from batchkit_tasks.engine import Run
from batchkit_tasks.errors import (
    ForeignBatchError,
    ResultsGoneError,
    ResultsUnreadableError,
)
from batchkit_tasks.ground.arrow_compute import pc
from batchkit_tasks.limits import RESULTS_LIFETIME
from batchkit_tasks.parts.files import write_part
from batchkit_tasks.records import Chunk, Submitted
from batchkit_tasks.results import Collected, ResultReader
from batchkit_tasks.run_dir import positions
from batchkit_tasks.steps.reconciling import is_anothers
from batchkit_tasks.waiting.workspaces import let_go


class CollectedPart(msgspec.Struct, frozen=True):
    """What came back for a chunk, in numbers."""

    chunk: int
    batch_id: str
    rows: int
    by_status: dict[str, int]
    lines: int
    foreign: int
    duplicates: int
    missing: int
    cost_usd: float | None


def collect_chunk(run: Run, chunk: Chunk, api: Api) -> CollectedPart:
    """Read a batch's results into `parts/`, every position exactly once.

    Results that come short are read again, several times over some minutes; rows that
    still have no line become `missing`. Safe to call again.

    Raises:
        ForeignBatchError: The batch had only been taken for ours and is not; its chunk
            is looked for, or sent, again by `send_chunk`.
        ResultsGoneError: The API deleted the results (29 days).
        ResultsUnreadableError: They could not be read to the end; they stay there.
    """
    record = run.dir.latest_record(chunk.number)[1]
    if not isinstance(record, Submitted):  # another process has just let it go
        raise ForeignBatchError("a batch that was given back")
    _refuse_archived(api.retrieve(record.batch_id), record, api)
    collected = _read_patiently(run, chunk, record, api)
    if record.proof == "count":
        _make_final(run, record, collected, api)
    write_part(run, chunk, collected.part)
    run.dir.find_again(record.batch_id)  # another process may have missed it
    return _in_numbers(chunk, record, collected)


def _read_patiently(run: Run, chunk: Chunk, record: Submitted, api: Api) -> Collected:
    """Read until every row has its line; what several cut readings bring adds up."""
    reader = ResultReader(
        nonce=record.intent.nonce,
        positions=positions(chunk),
        answer=run.answer,
        price=run.prices.cost,
        price_many=run.prices.costs,
        max_tokens=chunk.max_tokens or run.job.advanced.max_tokens,
    )
    was_read_to_end, problem = False, ""
    for wait in (0.0, *patience.reread_waits()):
        time.sleep(wait)
        found = _read_once(run, record, reader, api)
        was_read_to_end |= not found
        problem = found or problem
        if not reader.missing:
            break
    if reader.missing and not was_read_to_end:
        raise ResultsUnreadableError(record.batch_id, problem)
    return reader.finish()


def _make_final(run: Run, record: Submitted, collected: Collected, api: Api) -> None:
    """Keep a batch that was only found by its size, now that its results are read.

    Without a line it shows no nonce, and never will. It stays ours even so (others
    would wait for it for ever), unless it is known to be another sending's.
    """
    has_lines = collected.missing < record.intent.requests
    if not has_lines and is_anothers(run, record, api):
        let_go(run.dir, record)
        raise ForeignBatchError(record.batch_id)
    final = replace(record, proof="nonce" if has_lines else "empty")
    if not run.dir.move_on(record, final):
        now = run.dir.record(record.intent.chunk, record.intent.sending)
        if not isinstance(now, Submitted) or now.batch_id != record.batch_id:
            raise ForeignBatchError(record.batch_id)  # another process let it go


def _read_once(run: Run, record: Submitted, reader: ResultReader, api: Api) -> str:
    """Read the results once; return why they could not be read to their end, if so."""
    reader.start_reading()
    with api.results(record.batch_id) as blocks:
        if isinstance(blocks, Later):
            return blocks.why
        try:
            for block in blocks:
                reader.feed(block)
                _refuse_foreign(run, record, reader)
        except TornResults as torn:
            return str(torn)
    reader.finish_reading()
    _refuse_foreign(run, record, reader)
    return ""


def _refuse_foreign(run: Run, record: Submitted, reader: ResultReader) -> None:
    """Let a batch go that was only taken for ours by its size, and is not.

    One that the API itself called ours stays ours, whatever lines it has.
    """
    if record.proof == "count" and reader.looks_foreign:
        let_go(run.dir, record)
        raise ForeignBatchError(record.batch_id)


def _refuse_archived(found: MessageBatch | Later, record: Submitted, api: Api) -> None:
    """Say at once that the results are gone, instead of waiting for them."""
    archived = not isinstance(found, Later) and found.archived_at
    now = datetime.now(UTC) + (api.clock_skew or timedelta())
    if archived or now > record.created_at + RESULTS_LIFETIME + ONE_DAY:
        raise ResultsGoneError(
            record.batch_id, f"created {record.created_at:%d %b %Y}, kept for 29 days"
        )


ONE_DAY = timedelta(days=1)


def _in_numbers(chunk: Chunk, record: Submitted, collected: Collected) -> CollectedPart:
    part = collected.part
    return CollectedPart(
        chunk=chunk.number,
        batch_id=record.batch_id,
        rows=part.num_rows,
        by_status=count_values(part["status"]),
        lines=collected.lines,
        foreign=collected.foreign,
        duplicates=collected.duplicates,
        missing=collected.missing,
        cost_usd=_sum(part["cost_usd"]),
    )


def count_values(column: pa.ChunkedArray) -> dict[str, int]:
    """How often each value occurs."""
    counted = pc.value_counts(column).to_pylist()
    return {str(entry["values"]): int(entry["counts"]) for entry in counted}


def _sum(column: pa.ChunkedArray) -> float | None:
    total: Any = pc.sum(column).as_py()
    return None if total is None else float(total)
