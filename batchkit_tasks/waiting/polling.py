"""Look at the batches of a run, in few calls, with patience."""

from __future__ import annotations

import random
from collections.abc import Mapping, Set
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec

from batchkit_tasks import patience, waiting
from batchkit_tasks.api import Api, Later
from batchkit_tasks.batches import MessageBatch
from batchkit_tasks.errors import PollingError
from batchkit_tasks.records import Submitted
from batchkit_tasks.run_dir import RunDir
from batchkit_tasks.waiting.workspaces import check_workspace, let_go


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
    run: RunDir,
    *,
    being_collected: Set[int] = frozenset(),
    check_every: timedelta,
    now: datetime | None = None,
) -> Look:
    """Look once at every batch that is not collected yet.

    Errors that may pass make the look come back empty-handed, never an error: nothing
    is canceled and nothing sent because of them.

    Raises:
        KeyRefusedError: The key cannot read the batches (any more).
        WrongWorkspaceError: The key is of another workspace.
        PollingError: The API has not known a batch of ours for ten minutes.
    """
    now = now or datetime.now(UTC)
    here = run.collected()
    planned = {c.number: c for round_ in run.rounds() for c in round_.chunks}
    # A single row that was too large is here too, but had no batch.
    done = {number for number in here & planned.keys() if planned[number].requests > 1}
    submitted = {
        number: record
        for number, record in run.latest_records(without=done).items()
        if number in planned and isinstance(record, Submitted)
    }
    total = len(done) + len(submitted)
    open_ones = submitted.keys() - here - being_collected
    waiting_for = _settle_disputes(run, {n: submitted[n] for n in sorted(open_ones)})
    if not waiting_for:
        return Look((), 0, total, now, "no message batch is open")
    oldest = min(record.created_at for record in waiting_for.values())
    wanted = {record.batch_id for record in waiting_for.values()}
    found = api.look(wanted, oldest)
    for record in waiting_for.values():
        check_workspace(record, api)
    seen = {} if isinstance(found, Later) else found.batches
    if not isinstance(found, Later):
        _miss_patiently(run, waiting_for, seen, now)
    ended = [
        chunk
        for chunk, record in waiting_for.items()
        if record.batch_id in seen and seen[record.batch_id].has_ended
    ]
    running = [batch for batch in seen.values() if not batch.has_ended]
    at = waiting.next_look(
        now,
        waiting_since=max(r.intent.intended_at for r in waiting_for.values()),
        check_every=check_every,
        retry_after=found.retry_after,
        ends_by=min((b.expires_at for b in running if b.expires_at), default=None),
        jitter=random.random(),
    )
    return Look(
        ended=tuple(sorted(ended)),
        running=len(waiting_for) - len(ended),
        total=total,
        next_look_at=at,
        message=_message(found, running, total, at),
        batches=seen,
        unanswered=isinstance(found, Later),
    )


def _settle_disputes(
    run: RunDir, waiting_for: dict[int, Submitted]
) -> dict[int, Submitted]:
    """Let go what was only found by its size, and belongs to another chunk for sure."""
    sure = {r.batch_id for r in waiting_for.values() if r.proof != "count"}
    kept: dict[int, Submitted] = {}
    for chunk, record in waiting_for.items():
        if record.proof == "count" and record.batch_id in sure:
            let_go(run, record)
        else:
            kept[chunk] = record
    return kept


def _message(found: Any, running: list[MessageBatch], total: int, at: datetime) -> str:
    if isinstance(found, Later):
        return f"The API does not answer ({found.why}). Next look {at:%H:%M:%S} UTC."
    return waiting.waiting_message(running, total=total, next_look_at=at)


def _miss_patiently(
    run: RunDir,
    waiting_for: Mapping[int, Submitted],
    seen: Mapping[str, MessageBatch],
    now: datetime,
) -> None:
    """Take a 404 for a passing fault, until it has come for too long.

    The run directory remembers the first one: each wake-up may be a new process.
    """
    for batch_id in run.missed() & seen.keys():
        run.find_again(batch_id)
    lost: list[str] = []
    for record in waiting_for.values():
        if record.batch_id in seen:
            continue
        missed = run.miss(record.batch_id, now)
        if run.is_collected(record.intent.chunk):  # by another process, just now
            run.find_again(record.batch_id)
            continue
        patient_until = missed.first_at + patience.unknown_batch_patience()
        if missed.times < FEWEST_MISSES or now <= patient_until:
            continue
        if record.proof == "count":  # its owner has deleted it, and it was not ours
            let_go(run, record)
        else:
            lost.append(record.batch_id)
    if lost:
        raise PollingError(
            lost,
            "the API has said for a while that it does not know them (404). Were they "
            "deleted in the Console, or is the key of another workspace?",
        )


FEWEST_MISSES: Final = 3
"""So often in a row a batch must be missed: two looks can be hours apart."""
