"""Which rows are sent again, and in which chunks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from batchkit_tasks.chunks import cut_rows
from batchkit_tasks.engine import Run
from batchkit_tasks.errors import CreditExhaustedError
from batchkit_tasks.ground.arrow_compute import pc
from batchkit_tasks.parameters import Advanced
from batchkit_tasks.parts.files import read_part
from batchkit_tasks.plans.planning import max_body_bytes
from batchkit_tasks.plans.reading import item_sizes
from batchkit_tasks.records import Chunk, Round
from batchkit_tasks.results import is_credit_message, retry_kind

MAX_EXPIRIES: Final = 3
"""How often a row may expire before it counts as failed. An expiry is not the row's
fault and uses up no attempt, but each one takes a day."""


class Again(NamedTuple):
    """What rows that are sent again together have in common."""

    attempt: int
    expiries: int
    max_tokens: int


def next_try(chunk: Chunk, kind: str | None, advanced: Advanced) -> Again | None:
    """Decide whether a failed row of a chunk is sent again, and as what."""
    if kind is None or kind not in advanced.retry_on:
        return None
    tokens = chunk.max_tokens or advanced.max_tokens
    if kind == "expired":
        if chunk.expiries + 1 >= MAX_EXPIRIES:
            return None
        return Again(chunk.attempt, chunk.expiries + 1, tokens)
    if chunk.attempt >= advanced.attempts:
        return None
    longer = 2 * tokens if kind == "truncated" else tokens
    return Again(chunk.attempt + 1, chunk.expiries, longer)


def plan_next_round(run: Run) -> Round | None:
    """Cut the rows of the last round that are worth another attempt into chunks.

    Returns:
        The new round, or None if no row is to be sent again.

    Raises:
        CreditExhaustedError: Rows were refused because the credit is used up. Raised
            once per round: when the run is started again, these rows are sent again
            as the same attempt.
    """
    rounds = run.rounds()
    last = rounds[-1]
    if not {chunk.number for chunk in last.chunks} <= run.dir.collected():
        return last  # another process of this run has planned it, and works on it
    refused = _Refused()
    groups: dict[Again, list[np.ndarray]] = {}
    for chunk in last.chunks:
        for again, positions in _failed_groups(run, chunk, refused):
            groups.setdefault(again, []).append(positions)
    if refused.rows and run.dir.pause(last.number):
        raise CreditExhaustedError(refused.rows, refused.message)
    if not groups:
        return None
    number = 1 + max(chunk.number for r in rounds for chunk in r.chunks)
    used = {chunk.requests for r in rounds for chunk in r.chunks}
    chunks: list[Chunk] = []
    for again in sorted(groups):
        positions = np.sort(np.concatenate(groups[again]))
        cut = cut_rows(
            positions,
            item_sizes(run, positions, again.max_tokens),
            max_requests=run.job.advanced.rows_per_batch,
            max_bytes=max_body_bytes(run.job),
            used_counts=used,
            first_number=number,
            attempt=again.attempt,
            expiries=again.expiries,
            max_tokens=again.max_tokens,
        )
        chunks += cut
        number += len(cut)
        used |= {chunk.requests for chunk in cut}
    return run.dir.create_round(Round(number=last.number + 1, chunks=tuple(chunks)))


@dataclass(slots=True)
class _Refused:
    """Rows that were refused because the credit is used up."""

    rows: int = 0
    message: str = ""


def _failed_groups(
    run: Run, chunk: Chunk, refused: _Refused
) -> Iterator[tuple[Again, np.ndarray]]:
    columns = ["position", "status", "error_type", "error"]
    part = read_part(run, chunk.number, columns)
    failed = part.filter(pc.not_equal(part["status"], "succeeded")).to_pylist()
    groups: dict[Again, list[int]] = {}
    for row in failed:
        again = next_try(
            chunk, retry_kind(row["status"], row["error_type"]), run.job.advanced
        )
        if row["error"] and is_credit_message(row["error"]):
            refused.rows += 1
            refused.message = row["error"]
            tokens = chunk.max_tokens or run.job.advanced.max_tokens
            again = Again(chunk.attempt, chunk.expiries, tokens)
        if again:
            groups.setdefault(again, []).append(row["position"])
    for again, positions in groups.items():
        yield again, np.array(positions, dtype=np.int64)
