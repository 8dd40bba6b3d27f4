"""Look at the batches of a run, in few calls, with patience."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from batchkit_tasks import patience, waiting
from batchkit_tasks.api import Api, Later
from batchkit_tasks.batches import MessageBatch
from batchkit_tasks.errors import PollingError
from batchkit_tasks.records import ChunkRecord, Submitted


class Look(msgspec.Struct, frozen=True):
    """What one look at a run's batches showed."""

    ended: tuple[int, ...]
    """Numbers of the chunks whose batch has ended."""
    running: int
    total: int
    next_look_at: datetime
    message: str
    batches: dict[str, MessageBatch] = {}
    """By id, as the API showed them."""
    unanswered: bool = False
    """Whether the API did not answer this time."""


def look(
    api: Api,
    records: Mapping[int, ChunkRecord],
    collected: set[int],
    *,
    check_every: timedelta,
    now: datetime | None = None,
) -> Look:
    """Look once at every batch that is not collected yet.

    Errors that may pass make the look come back empty-handed, never an error: nothing
    is canceled and nothing sent because of them.

    Raises:
        KeyRefusedError: The key cannot read the batches (any more).
        PollingError: The API has not known a batch of ours for ten minutes.
    """
    now = now or datetime.now(UTC)
    waiting_for = {
        record.batch_id: chunk
        for chunk, record in records.items()
        if isinstance(record, Submitted) and chunk not in collected
    }
    submitted = [r for r in records.values() if isinstance(r, Submitted)]
    if not waiting_for:
        return Look((), 0, len(submitted), now, "no message batch is open")
    oldest = min(r.created_at for r in submitted if r.batch_id in waiting_for)
    found = api.look(set(waiting_for), oldest)
    retry_after = found.retry_after
    seen = {} if isinstance(found, Later) else found.batches
    for batch_id in seen:
        _first_missed.pop(batch_id, None)
    _miss_patiently(waiting_for.keys() - seen.keys(), submitted, found, now)
    running = [batch for batch in seen.values() if not batch.has_ended]
    at = waiting.next_look(
        now,
        waiting_since=max(r.intent.intended_at for r in submitted),
        check_every=check_every,
        retry_after=retry_after,
        ends_by=min((b.expires_at for b in running if b.expires_at), default=None),
        jitter=random.random(),
    )
    return Look(
        ended=tuple(sorted(waiting_for[b.id] for b in seen.values() if b.has_ended)),
        running=len(waiting_for) - sum(b.has_ended for b in seen.values()),
        total=len(submitted),
        next_look_at=at,
        message=_message(found, running, len(submitted), at),
        batches=seen,
        unanswered=isinstance(found, Later),
    )


def _message(found: Any, running: list[MessageBatch], total: int, at: datetime) -> str:
    if isinstance(found, Later):
        return f"The API does not answer ({found.why}). Next look {at:%H:%M:%S} UTC."
    return waiting.waiting_message(running, total=total, next_look_at=at)


def _miss_patiently(
    missed: set[str], submitted: list[Submitted], found: Any, now: datetime
) -> None:
    """Take a 404 for a passing fault, until the batch has been old for too long."""
    if isinstance(found, Later) or not missed:
        return
    lost = [
        record.batch_id
        for record in submitted
        if record.batch_id in missed and _unknown_for(record, now)
    ]
    if lost:
        raise PollingError(
            lost, "the API says that it does not know them (404), again and again."
        )


_first_missed: dict[str, float] = {}
"""When this process first missed a batch, by its monotonic clock."""


def _unknown_for(record: Submitted, now: datetime) -> bool:
    limit = patience.unknown_batch_patience()
    first = _first_missed.setdefault(record.batch_id, time.monotonic())
    old_enough = now - record.intent.intended_at > limit
    return old_enough and time.monotonic() - first > limit.total_seconds()
