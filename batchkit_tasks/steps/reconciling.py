"""Find out what became of a create that nobody knows the outcome of.

The shell around `submission.reconcile`: reads the list, looks whose the candidates
are, and writes down the conclusion. Nothing is ever created or canceled here.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

import msgspec
from msgspec.structs import replace

from batchkit_tasks import patience, submission
from batchkit_tasks.api import Api, Later
from batchkit_tasks.api.result_bytes import TornResults
from batchkit_tasks.batches import MessageBatch
from batchkit_tasks.engine import Run
from batchkit_tasks.errors import ChunkUncertainError
from batchkit_tasks.ground import storage
from batchkit_tasks.ground.decoding import decode
from batchkit_tasks.limits import BATCH_LIFETIME
from batchkit_tasks.records import (
    ChunkRecord,
    Intended,
    Proof,
    Submitted,
    Unsent,
)
from batchkit_tasks.results import LINES_THAT_TELL
from batchkit_tasks.results.lines import decode_line, read_lines
from batchkit_tasks.steps.owner import current_owner, is_gone
from batchkit_tasks.waiting.workspaces import check_workspace


@dataclass(frozen=True, slots=True)
class NotYet:
    """The chunk has no batch that is known, and none may be sent; try again then."""

    at: datetime
    why: str
    busy: bool = False
    """Whether the API takes no more just now, from nobody."""


def settle(run: Run, intent: Intended, api: Api) -> Submitted | NotYet | Unsent:
    """Conclude about a sending, as far as that can be done now.

    Raises:
        WrongWorkspaceError: With this key, its batch could not be seen.
        ChunkUncertainError: It could not be settled for longer than the run waits.
    """
    now = datetime.now(UTC)
    check_workspace(intent, api)
    if run.dir.is_split(intent.chunk):
        return _conclude(run, intent, "too large; its halves are sent instead", now)
    if run.dir.is_collected(intent.chunk):
        return _conclude(run, intent, "too large; its row has that for its result", now)
    if not intent.over and is_gone(intent.claimed_by):
        gone = replace(intent, deadline=min(now, intent.deadline), over=True)
        if not run.dir.move_on(intent, gone):
            return _changed(now)
        intent = gone
    since_deadline = submission.time_since_deadline(intent, now, api.clock_skew)
    if since_deadline < timedelta():
        who = "this" if intent.claimed_by == current_owner() else "another"
        again = now + min(-since_deadline, patience.look_again() * 5)
        return NotYet(again, f"{who} process may be sending this chunk")
    settled = _time_to_settle()
    listed = api.list_since(submission.earliest_creation(intent))
    if isinstance(listed, Later):
        again = now + (listed.retry_after or patience.look_again() * 2)
        why = f"the list cannot be read ({listed.why})"
        if not listed.endless:  # it passes, however old the intent is: ask nobody
            return NotYet(again, why)
        return _not_yet(run, intent, again, why)
    fitting = submission.fitting(intent, listed, settled=settled)
    claims = claimed_batches(run) if fitting else {}
    candidates = [b for b in fitting if claims.get(b.id, "count") == "count"]
    for batch in [b for b in candidates if b.has_ended]:
        whose = whose_results(api, batch.id, intent.nonce)
        if whose == "ours":
            return _adopt(run, intent, batch, proof="nonce")
        if whose == "foreign":
            found = replace(intent, foreign=(*intent.foreign, batch.id))
            if not run.dir.move_on(intent, found):
                return _changed(now)
            intent = found
            candidates.remove(batch)
    match submission.reconcile(
        candidates, claims, since_deadline=since_deadline, settled=settled
    ):
        case submission.Adopt(batch):
            return _adopt(run, intent, batch, proof="count")
        case submission.LookAgain(after, why):
            again = now + min(after, patience.look_again() * 2)
            return _not_yet(run, intent, again, why, candidates)
        case submission.SendAgain():
            _check_same_key(run, intent, listed, api)
            return _conclude(run, intent, "not in the list", now)


def is_anothers(run: Run, record: Submitted, api: Api) -> bool:
    """Whether a batch without a line, found by its size, is surely not this sending's.

    Somebody else has it for sure by now, or another batch bears our nonce.
    """
    claims, intent = claimed_batches(run), record.intent
    if claims.get(record.batch_id, "count") != "count":
        return True
    listed = api.list_since(submission.earliest_creation(intent))
    if isinstance(listed, Later):
        return False
    fitting = submission.fitting(intent, listed, settled=_time_to_settle())
    return any(
        whose_results(api, batch.id, intent.nonce) == "ours"
        for batch in fitting
        if batch.has_ended and claims.get(batch.id, "count") == "count"
    )


def _time_to_settle() -> timedelta:
    """How long after its deadline the batch of a create may still appear.

    The API may work on a body that it has, whatever became of our process and of the
    connection; and a process that may live waits as long for the answer.
    """
    return patience.answer_to_create() + patience.propagation_grace()


def submitted(intent: Intended, batch: MessageBatch, proof: Proof) -> Submitted:
    """The record of a batch that is taken for ours."""
    return Submitted(
        intent=intent,
        batch_id=batch.id,
        created_at=batch.created_at,
        expires_at=batch.expires_at or batch.created_at + BATCH_LIFETIME,
        proof=proof,
    )


def claimed_batches(run: Run) -> dict[str, Proof]:
    """The batches that records in reach have, and why: this run's, its neighbours'."""
    claims: dict[str, Proof] = {}
    for record in run.dir.records():
        _claim(claims, record)
    home = storage.parent(storage.parent(run.url))
    for output in storage.names(home):
        for key in storage.names(storage.join(home, output)):
            neighbour = storage.join(home, output, key)
            if neighbour != run.url:
                _claim_of(neighbour, claims)
    return claims


def _claim_of(neighbour: str, claims: dict[str, Proof]) -> None:
    """Read the claims of another run; what cannot be read, its own process reports."""
    folder = storage.join(neighbour, "chunks")
    try:
        urls = [storage.join(folder, name) for name in storage.names(folder)]
    except OSError:
        return
    for url in urls:
        try:
            data = storage.read(url)
            if data is not None:
                _claim(claims, decode(data, ChunkRecord))
        except (OSError, msgspec.DecodeError):
            continue


def _claim(claims: dict[str, Proof], record: ChunkRecord) -> None:
    if isinstance(record, Submitted) and claims.get(record.batch_id) in (None, "count"):
        claims[record.batch_id] = record.proof


def whose_results(
    api: Api, batch_id: str, nonce: str
) -> Literal["ours", "foreign", "unknown"]:
    """Read the first lines of an ended batch: they tell whose it is."""
    lines = 0
    with api.results(batch_id) as blocks:
        if isinstance(blocks, Later):
            return "unknown"
        try:
            for line in read_lines(blocks):
                decoded = decode_line(line)
                if decoded is None:
                    continue
                if decoded.custom_id.startswith(f"{nonce}-"):
                    return "ours"
                lines += 1
                if lines >= LINES_THAT_TELL:
                    return "foreign"
        except TornResults:
            return "unknown"
    return "foreign" if lines else "unknown"


def _adopt(
    run: Run, intent: Intended, batch: MessageBatch, *, proof: Proof
) -> Submitted | NotYet:
    record = submitted(intent, batch, proof)
    if run.dir.move_on(intent, record):
        return record
    return _changed(datetime.now(UTC))


def _conclude(run: Run, intent: Intended, why: str, now: datetime) -> Unsent | NotYet:
    unsent = Unsent(intent=intent, why=why, at=now)
    return unsent if run.dir.move_on(intent, unsent) else _changed(now)


def _changed(now: datetime) -> NotYet:
    return NotYet(now, "another process has just settled this chunk")


def _not_yet(
    run: Run,
    intent: Intended,
    at: datetime,
    why: str,
    candidates: list[MessageBatch] | None = None,
) -> NotYet:
    """Come back later; but not for ever."""
    hours = timedelta(hours=run.job.advanced.give_up_after_hours)
    if datetime.now(UTC) - intent.intended_at > hours:
        raise _uncertain(run, intent, why, candidates or [])
    return NotYet(at, why)


def _check_same_key(
    run: Run, intent: Intended, listed: list[MessageBatch], api: Api
) -> None:
    """Make sure that an empty list is not just another workspace's.

    Where the API does not name the workspace, another key than the one that sent must
    at least see one batch that this run sent.
    """
    if intent.key_fingerprint == api.key_fingerprint:
        return
    if intent.workspace and intent.workspace == api.workspace:
        return
    if {batch.id for batch in listed} & set(run.dir.batch_ids()):
        return
    why = "the key is another now, and may not see the workspace of the one that sent"
    raise _uncertain(run, intent, why, [])


def _uncertain(
    run: Run, intent: Intended, why: str, candidates: list[MessageBatch]
) -> ChunkUncertainError:
    return ChunkUncertainError(
        why,
        intent.requests,
        f"{intent.intended_at:%d %b %H:%M} UTC",
        [batch.id for batch in candidates],
        run.dir.record_url(intent.chunk, intent.sending),
    )
