"""Send one chunk, exactly once: the shell around `submission`."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import msgspec
from msgspec.structs import replace

from batchkit_tasks import patience, storage, submission
from batchkit_tasks.api import Api, Later
from batchkit_tasks.batches import MessageBatch
from batchkit_tasks.body import Body
from batchkit_tasks.engine import Run
from batchkit_tasks.errors import (
    KeyRefusedError,
    RefusedError,
    SpendLimitError,
)
from batchkit_tasks.limits import BATCH_LIFETIME
from batchkit_tasks.owner import current_owner, is_gone
from batchkit_tasks.part_files import write_part_without_answers
from batchkit_tasks.planning import as_ranges, read_positions
from batchkit_tasks.records import Chunk, ChunkRecord, Intended, Submitted, Unsent
from batchkit_tasks.requests import encode_item
from batchkit_tasks.run_dir import positions

AFTER_NO_CONNECTION = timedelta(seconds=5)
"""Nothing was sent: the next try comes soon."""

AFTER_BUSY = timedelta(seconds=30)
"""A 429 that does not say how long to wait."""

FIRST_SPLIT_NUMBER = 1_000_000
"""Halves get numbers that no planned chunk has."""

RECORD_REREAD = timedelta(seconds=2)
"""Between two looks at a record that another process holds, or at the list."""


@dataclass(frozen=True, slots=True)
class NotYet:
    """The chunk could not be sent, and nothing of it is billed; try again then."""

    at: datetime
    why: str


@dataclass(frozen=True, slots=True)
class Split:
    """The API found the chunk's body too large: smaller chunks stand in its place."""

    why: str


def send_chunk(run: Run, chunk: Chunk, api: Api) -> Submitted | NotYet | Split:
    """Bring a chunk one step nearer to being submitted; safe to call again at any time.

    Returns:
        The record of its batch, or when to call again: the API is busy, or the outcome
        of an earlier create is not known yet. `Split`: other chunks are to be sent.

    Raises:
        RefusedError: The API said no (key, spend limit, request). Nothing was created.
    """
    sending, record = _latest(run, chunk)
    if isinstance(record, Submitted):
        return record
    if isinstance(record, Intended):
        settled = settle(run, record, api)
        if not isinstance(settled, Unsent):
            return settled
    return _send(run, chunk, sending + 1, api)


def _latest(run: Run, chunk: Chunk) -> tuple[int, ChunkRecord | None]:
    sending, record = 0, None
    while found := run.dir.record(chunk.number, sending + 1):
        sending, record = sending + 1, found
    return sending, record


# ------------------------------------------------------------------------- send


def _send(run: Run, chunk: Chunk, sending: int, api: Api) -> Submitted | NotYet | Split:
    run.check_source()
    nonce = secrets.token_hex(submission.NONCE_CHARS // 2)
    with Body(_items(run, chunk, nonce)) as body:
        now = datetime.now(UTC)
        intent = Intended(
            chunk=chunk.number,
            sending=sending,
            nonce=nonce,
            requests=chunk.requests,
            body_bytes=body.size,
            digest=body.digest,
            intended_at=now,
            clock_skew_seconds=api.clock_skew.total_seconds(),
            deadline=submission.upload_deadline(now, body.size),
            key_fingerprint=api.key_fingerprint,
            claimed_by=current_owner(),
        )
        if not run.dir.claim(intent):
            return NotYet(now + RECORD_REREAD, "another process sends this chunk")
        outcome = api.create(body, intent.deadline)
    if isinstance(outcome, submission.TooLarge):
        run.dir.replace(Unsent(intent=intent, why=outcome.why, at=datetime.now(UTC)))
        _halve(run, chunk, outcome.why)
        return Split(outcome.why)
    return _record(run, intent, outcome)


def _halve(run: Run, chunk: Chunk, why: str) -> None:
    """Cut a chunk in two; a single row that is too large becomes `oversized`."""
    rows = positions(chunk)
    if len(rows) == 1:
        write_part_without_answers(run, chunk, "oversized", why)
        return
    middle = len(rows) // 2
    halves = [
        replace(
            chunk,
            number=FIRST_SPLIT_NUMBER + 2 * chunk.number + which,
            ranges=tuple(as_ranges(half)),
            requests=len(half),
            body_bytes=chunk.body_bytes * len(half) // len(rows),
        )
        for which, half in enumerate((rows[:middle], rows[middle:]))
    ]
    run.dir.split(chunk, halves)


def _items(run: Run, chunk: Chunk, nonce: str) -> Iterator[bytes]:
    builder = run.requests_for(chunk)
    for window, table in read_positions(run, positions(chunk), builder.columns):
        params = builder.build(table).params
        for position, request in zip(window.tolist(), params, strict=True):
            assert request is not None, "a planned row has no request any more"
            yield encode_item(nonce, position, request)


def _record(
    run: Run,
    intent: Intended,
    outcome: submission.Accepted
    | submission.NotSent
    | submission.Busy
    | submission.Refused
    | submission.Unclear,
) -> Submitted | NotYet:
    """Write down what became of a create, before anything else happens."""
    now = datetime.now(UTC)
    match outcome:
        case submission.Accepted(batch):
            return _submitted(run, intent, batch, proof="answer")
        case submission.NotSent(why):
            run.dir.replace(Unsent(intent=intent, why=why, at=now))
            return NotYet(now + AFTER_NO_CONNECTION, why)
        case submission.Busy(why, retry_after):
            run.dir.replace(Unsent(intent=intent, why=why, at=now))
            return NotYet(now + (retry_after or AFTER_BUSY), why)
        case submission.Refused(kind, status, error_type, message):
            why = f"{status} {error_type}: {message}"
            run.dir.replace(Unsent(intent=intent, why=why, at=now))
            raise _REFUSALS[kind](status, error_type, message)
        case submission.Unclear(why):
            # Our own create is over: nothing of it can arrive from now on.
            run.dir.replace(replace(intent, deadline=min(now, intent.deadline)))
            return NotYet(now + RECORD_REREAD, f"no answer to a create ({why})")


_REFUSALS = {
    "key": KeyRefusedError,
    "spend": SpendLimitError,
    "request": RefusedError,
}


def _submitted(
    run: Run, intent: Intended, batch: MessageBatch, *, proof: str
) -> Submitted:
    record = Submitted(
        intent=intent,
        batch_id=batch.id,
        created_at=batch.created_at,
        expires_at=batch.expires_at or batch.created_at + BATCH_LIFETIME,
        proof=proof,
    )
    run.dir.replace(record)
    return record


# -------------------------------------------------------------------- reconcile


def settle(run: Run, intent: Intended, api: Api) -> Submitted | NotYet | Unsent:
    """Find out what became of a create that nobody knows the outcome of."""
    now = datetime.now(UTC)
    if intent.deadline > now and is_gone(intent.claimed_by):
        intent = replace(intent, deadline=now)
        run.dir.replace(intent)
    if intent.deadline > now and intent.claimed_by == current_owner():
        return NotYet(now + RECORD_REREAD, "this chunk is being sent")
    if intent.deadline > now:
        again = min(intent.deadline, now + RECORD_REREAD * 5)
        return NotYet(again, "another process may be sending this chunk")
    listed = api.list_since(submission.earliest_creation(intent))
    if isinstance(listed, Later):
        return NotYet(now + (listed.retry_after or RECORD_REREAD), listed.why)
    candidates = submission.find_candidates(intent, listed, claimed_ids(run))
    grace = patience.propagation_grace()
    match submission.reconcile(intent, candidates, now=now, grace=grace):
        case submission.Adopt(batch):
            return _submitted(run, intent, batch, proof="count")
        case submission.LookAgain(at):
            again = min(at, now + RECORD_REREAD * 2)
            return NotYet(again, "an unanswered create may still appear in the list")
        case submission.SendAgain():
            unsent = Unsent(intent=intent, why="not in the list", at=now)
            run.dir.replace(unsent)
            return unsent


def let_go(run: Run, record: Submitted) -> None:
    """Give back a batch that turned out not to be ours: its chunk is looked for again."""
    foreign = (*record.intent.foreign, record.batch_id)
    run.dir.replace(replace(record.intent, foreign=foreign))


def claimed_ids(run: Run) -> set[str]:
    """The batch ids that any run in reach knows: this one's, and its neighbours'."""
    home = storage.parent(storage.parent(run.url))
    fs, path = storage.filesystem(home)
    fs.invalidate_cache()
    ids: set[str] = set(run.dir.batch_ids())
    for record_path in fs.glob(f"{path}/*/*/chunks/*.json"):
        try:
            record = msgspec.json.decode(fs.cat_file(record_path), type=ChunkRecord)
        except (FileNotFoundError, msgspec.DecodeError):
            continue  # not our run's: its own process will complain
        if isinstance(record, Submitted):
            ids.add(record.batch_id)
    return ids
