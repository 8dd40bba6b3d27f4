"""Fetch the results of one ended batch and keep them as a part."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pyarrow as pa

from batchkit_tasks import patience
from batchkit_tasks.api import Api, Later, TornResults
from batchkit_tasks.arrow_compute import pc
from batchkit_tasks.batches import MessageBatch
from batchkit_tasks.engine import Run
from batchkit_tasks.errors import (
    ForeignBatchError,
    ResultsGoneError,
    ResultsUnreadableError,
)
from batchkit_tasks.limits import RESULTS_LIFETIME
from batchkit_tasks.part_files import write_part
from batchkit_tasks.records import Chunk, Submitted
from batchkit_tasks.results import Collected, ResultReader
from batchkit_tasks.run_dir import positions
from batchkit_tasks.sending import let_go


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


@dataclass(slots=True)
class _Reading:
    """One reading of the results, and whether it came to its end."""

    collected: Collected | None
    problem: str = ""

    def is_whole(self, expected: int) -> bool:
        """Whether every request of the batch has its line."""
        found = self.collected
        return found is not None and found.missing == 0 and found.lines >= expected


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
    record = run.dir.latest_records()[chunk.number]
    assert isinstance(record, Submitted), "only submitted chunks are collected"
    _refuse_archived(api.retrieve(record.batch_id), record)
    collected = _read_patiently(run, chunk, record, api)
    write_part(run, chunk, collected.part)
    return _in_numbers(chunk, record, collected)


def _read_patiently(run: Run, chunk: Chunk, record: Submitted, api: Api) -> Collected:
    best: Collected | None = None
    problem = ""
    for wait in (0.0, *patience.reread_waits()):
        time.sleep(wait)
        reading = _read_once(run, chunk, record, api)
        problem = reading.problem or problem
        if reading.is_whole(chunk.requests):
            assert reading.collected is not None
            return reading.collected
        found = reading.collected
        if found and (best is None or found.missing < best.missing):
            best = found
    if best is None:
        raise ResultsUnreadableError(record.batch_id, problem)
    return best


def _read_once(run: Run, chunk: Chunk, record: Submitted, api: Api) -> _Reading:
    reader = ResultReader(
        nonce=record.intent.nonce,
        positions=positions(chunk),
        answer=run.answer,
        price=run.prices.cost,
        max_tokens=chunk.max_tokens or run.job.advanced.max_tokens,
    )
    with api.results(record.batch_id) as blocks:
        if isinstance(blocks, Later):
            return _Reading(None, blocks.why)
        try:
            for block in blocks:
                reader.feed(block)
                if record.proof == "count" and reader.looks_foreign:
                    let_go(run, record)
                    raise ForeignBatchError(record.batch_id)
        except TornResults as torn:
            return _Reading(None, str(torn))
    collected = reader.finish()
    if collected.missing == chunk.requests and collected.foreign:
        if record.proof == "count":
            let_go(run, record)
        raise ForeignBatchError(record.batch_id)
    return _Reading(collected)


def _refuse_archived(found: MessageBatch | Later, record: Submitted) -> None:
    """Say at once that the results are gone, instead of waiting for them."""
    archived = not isinstance(found, Later) and found.archived_at
    if archived or datetime.now(UTC) > record.created_at + RESULTS_LIFETIME + ONE_DAY:
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
