"""Send one chunk, exactly once: the shell around `submission`."""

from __future__ import annotations

import contextlib
import logging
import secrets
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from msgspec.structs import replace

from batchkit_tasks import patience, submission
from batchkit_tasks.api import Api
from batchkit_tasks.api.body import Body
from batchkit_tasks.api.outcomes import (
    Accepted,
    Busy,
    NotSent,
    Outcome,
    Refused,
    TooLarge,
    Unclear,
)
from batchkit_tasks.batch_numbers import half_number
from batchkit_tasks.chunks import split_count
from batchkit_tasks.engine import Run
from batchkit_tasks.errors import (
    KeyRefusedError,
    RefusedError,
    RunStoppedError,
    SpendLimitError,
)
from batchkit_tasks.parts.files import write_part_without_answers
from batchkit_tasks.plans.reading import as_ranges, read_chunk
from batchkit_tasks.prompts.requests import encode_items
from batchkit_tasks.records import Chunk, Intended, Submitted, Unsent
from batchkit_tasks.run_dir import positions
from batchkit_tasks.run_dir.stopping import refuse_if_stopped
from batchkit_tasks.steps.owner import current_owner
from batchkit_tasks.steps.reconciling import (
    NotYet,
    settle,
    submitted,
)
from batchkit_tasks.waiting.workspaces import check_workspace

LOGGER = logging.getLogger("batchkit")

HALVED: Final = "its halves are sent instead"
"""What is said of a chunk that was cut in two."""


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
        WrongWorkspaceError: The run began with a key of another workspace.
        ChunkUncertainError: An earlier create could not be settled in all that time.
    """
    sending, record = run.dir.latest_record(chunk.number)
    if isinstance(record, Submitted):
        return record
    if later := api.preflight():
        wait = later.retry_after or patience.without_connection()
        return NotYet(
            datetime.now(UTC) + wait, f"the API does not answer ({later.why})"
        )
    if isinstance(record, Intended):
        settled = settle(run, record, api)
        if not isinstance(settled, Unsent):
            return settled
    # Another process may have heard that it is too large: see `_send`.
    if run.dir.is_split(chunk.number):
        return Split(HALVED)
    if run.dir.is_collected(chunk.number):
        return Split("its only row is too large to be sent")
    return _send(run, chunk, sending + 1, api)


# ------------------------------------------------------------------------- send


def _send(run: Run, chunk: Chunk, sending: int, api: Api) -> Submitted | NotYet | Split:
    run.check_source()
    refuse_if_stopped(run.url)
    for other in run.dir.records():  # one is enough: all were sent from one workspace
        check_workspace(other, api)
        break
    nonce = secrets.token_hex(submission.NONCE_CHARS // 2)
    # Closed at once if building fails: until then nobody else can read the table.
    with closing(_items(run, chunk, nonce)) as items, Body(items) as body:
        now, skew = datetime.now(UTC), api.clock_skew
        intent = Intended(
            chunk=chunk.number,
            sending=sending,
            nonce=nonce,
            requests=chunk.requests,
            body_bytes=body.size,
            digest=body.digest,
            intended_at=now,
            clock_skew_seconds=skew.total_seconds() if skew is not None else None,
            deadline=submission.upload_deadline(now, body.size),
            key_fingerprint=api.key_fingerprint,
            claimed_by=current_owner(),
            workspace=api.workspace,
        )
        if not run.dir.claim(intent):
            return NotYet(
                now + patience.look_again(), "another process sends this chunk"
            )
        # Once more: who cancels a run marks it first and then looks for claims, so that
        # one of the two sees the other.
        try:
            refuse_if_stopped(run.url)
        except RunStoppedError:
            run.dir.note(Unsent(intent=intent, why="the run was stopped", at=now))
            raise
        try:
            outcome = api.create(body, intent.deadline)
        except BaseException:  # Ctrl-C, a task's time-out: nobody else learns of it
            _note_over(run, intent, body)
            raise
    if isinstance(outcome, TooLarge) and (outcome.by == "api" or chunk.requests > 1):
        unsent = Unsent(intent=intent, why=outcome.why, at=datetime.now(UTC))
        if run.dir.stand_in(unsent, lambda: _halve(run, chunk, unsent.why)):
            return Split(outcome.why)
        return NotYet(unsent.at, "another process has sent this chunk meanwhile")
    return _record(run, intent, outcome, body, api)


def _halve(run: Run, chunk: Chunk, why: str) -> None:
    """Cut a chunk in two; a single row that is too large becomes `oversized`."""
    rows = positions(chunk)
    if len(rows) == 1:
        write_part_without_answers(run, chunk, "oversized", why)
        return
    used = {c.requests for round_ in run.rounds() for c in round_.chunks}
    middle = split_count(len(rows), used)
    halves = [
        replace(
            chunk,
            number=half_number(chunk.number, which),
            ranges=tuple(as_ranges(half)),
            requests=len(half),
            body_bytes=chunk.body_bytes * len(half) // len(rows),
        )
        for which, half in enumerate((rows[:middle], rows[middle:]))
    ]
    run.dir.split(chunk, halves)


def _items(run: Run, chunk: Chunk, nonce: str) -> Generator[bytes]:
    """The items of a chunk, many at a time, joined by commas."""
    builder = run.requests_for(chunk)
    for window, table in read_chunk(run, chunk, positions(chunk), builder.columns):
        built = builder.build(table)
        assert not built.reasons, "a planned row has no request any more"
        yield encode_items(nonce, window.tolist(), built.pieces)


def _record(
    run: Run, intent: Intended, outcome: Outcome, body: Body, api: Api
) -> Submitted | NotYet:
    """Write down what became of a create, before anything else happens."""
    now = datetime.now(UTC)
    match outcome:
        case Accepted(batch):
            record = submitted(intent, batch, proof="answer")
            if run.dir.note(record):
                return record
            return _cancel_late(record, api)
        case NotSent(why) | TooLarge(why):
            return _unsent(run, intent, why, patience.without_connection())
        case Busy(why, retry_after):
            held = _unsent(run, intent, why, patience.when_busy(), retry_after)
            return NotYet(held.at, why, busy=True)
        case Refused(kind, status, error_type, message):
            _unsent(
                run, intent, f"{status} {error_type}: {message}", patience.when_busy()
            )
            raise _REFUSALS[kind](status, error_type, message)
        case Unclear(why):
            _note_over(run, intent, body)
            return NotYet(now + patience.look_again(), f"no answer to a create ({why})")


def _unsent(
    run: Run,
    intent: Intended,
    why: str,
    least: timedelta,
    asked: timedelta | None = None,
) -> NotYet:
    """The API created nothing: the chunk is sent again, after a wait that grows."""
    now = datetime.now(UTC)
    run.dir.note(Unsent(intent=intent, why=why, at=now))
    wait = submission.wait_before_sending_again(
        intent.sending, least=least, asked=asked
    )
    return NotYet(now + wait, why)


def _note_over(run: Run, intent: Intended, body: Body) -> None:
    """Our own create is over: nothing of it can be sent from now on."""
    last_byte = body.handed_over_at or datetime.now(UTC)
    ended = replace(intent, deadline=min(last_byte, intent.deadline), over=True)
    run.dir.move_on(intent, ended)


def _cancel_late(record: Submitted, api: Api) -> NotYet:
    """The answer came after others had given this sending up, and sent again."""
    LOGGER.warning(
        "%s was accepted when its chunk had been sent again already; it is canceled. "
        "Rows that it had finished are billed twice.",
        record.batch_id,
    )
    with contextlib.suppress(RefusedError):
        api.cancel(record.batch_id)
    return NotYet(datetime.now(UTC), "another batch stands in the place of a late one")


_REFUSALS = {
    "key": KeyRefusedError,
    "spend": SpendLimitError,
    "request": RefusedError,
}
