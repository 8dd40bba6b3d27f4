"""Buying a batch exactly once from an API without an idempotency key.

The API creates a new, billed batch for every POST it accepts, and tells of it only in
the answer. An answer can be lost. So each sending of a chunk goes through a record:

1. *Intended* is written, create-exclusively, before the first byte leaves. It holds a
   fresh nonce that is part of every custom_id, the exact number of requests, the
   body's digest and a deadline after which the last byte is never handed over.
2. The body is POSTed once, with the SDK's own re-sending switched off.
3. *Submitted* (the id) or *Unsent* (the API said no, or nothing ever left) replaces it
   before anything else happens.

A record that is still *Intended* later (a crash, a lost answer) is reconciled: the
list of batches is read, newest first, down to the intent. A batch with exactly our
number of requests, created between the intent and the moment from which nothing of it
can arrive, is a candidate. One that has ended shows by the nonce in its first lines
whose it is. One that runs is adopted provisionally, unless a record in reach has it,
and proved by the nonce once it has ended, or let go unread. One that another record
has only provisionally is waited for. If the last byte has left, or cannot leave any
more, and then the time that an answer may take and a grace for the list to catch up
have passed, the list could be read to its end, and no candidate is left, then nothing
was created, and only then the chunk is sent again.

Batches are dated by the server's clock, which its `Date` header tells; where ours has
been set, or is another machine's, the times between are measured on it too.

Conclusions replace the very record that they were drawn from, or nothing: of two
processes that settle the same sending, one acts. What the API itself answers counts
more than any conclusion; a batch that it confirms after its chunk was given up and
sent again is recorded, and canceled at once. A chunk that is too large is cut in
halves only while nobody has sent it again. Who cancels a run marks it and then looks
for claims; who sends claims and then looks for the mark: one sees the other.

**Guarantee.** Rows are only ever accepted under our own nonce: no answer of anybody
else is taken for ours, whatever the API lists. A chunk has at most one batch that runs
to its end, as long as the API (1) creates nothing from a body that lacks its last
bytes, (2) has decided about a create 300 s after its last bytes have left, and shows
what it accepted in its list within 180 s more (both are set in `patience`), and (3)
keeps the sum of `request_counts`. No batch that the API told us of is ever forgotten.

**Limits.** What breaks (1) to (3) can make us pay twice: an API that accepts a body
later than that after its last byte arrived, or that hides a batch for longer. So can:

- A row without a line in the results of its batch. It is sent again within its
  attempts; if the API had answered, and billed, it all the same, it is paid again. A
  row that has no line in the end is counted as `missing`.
- A process that is frozen in the instant between the look at the clock and the write of
  the last two bytes, and thawed while its connection still lives: they leave late.
- Two processes on a filesystem without locks (object stores) that conclude about one
  sending within one round trip, from different lists; and on one that cannot create
  exclusively either (FTP, SFTP, WebHDFS), two that claim within one round trip.
- A late batch that is canceled keeps, and bills, what it had finished by then.
- A person who deletes records, or sends one table from two run directories at once.

And this costs time, no row and no money: a foreign batch of the same size, created in
the same minutes, can be adopted until it ends, for up to a day. It is never canceled by
us, as it may be somebody else's; so a batch of ours that was only found by its size is
not canceled either when the run is (`cancel_batches` names it). An adopted batch that
ends without a single line shows no nonce; it is kept, and its rows are `missing`, unless
our nonce shows in another.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final

from batchkit_tasks.batches import MessageBatch
from batchkit_tasks.records import Intended, Proof

NONCE_CHARS: Final = 16
"""64 bits of chance: no two sendings share a nonce, and 47 characters are left of the
64 that a custom_id may have."""

CLOCK_TOLERANCE: Final = timedelta(minutes=2)
"""What our measure of the server's clock may be wrong by, beyond the measured skew."""

CLOCK_NOISE: Final = timedelta(seconds=10)
"""Two measures of one clock may differ by so much."""

UPLOAD_BASE: Final = timedelta(seconds=120)
"""Time that every upload gets, whatever its size."""

UPLOAD_BYTES_PER_SECOND: Final = 250_000
"""The slowest line on which an upload may still finish (2 Mbit/s)."""

UNKNOWN_CLOCK: Final = timedelta(days=1)
"""How far apart the clocks may be where the server does not tell its time."""

LONGEST_RETRY_AFTER: Final = timedelta(days=1)
"""No header makes us wait longer before we ask again."""

SHORTEST_WAIT: Final = timedelta(milliseconds=250)
LONGEST_WAIT: Final = timedelta(minutes=15)
"""Waits between the sendings of one chunk grow, up to this."""


def parse_retry_after(value: str | None, now: datetime) -> timedelta | None:
    """Read a `retry-after` header: seconds or an HTTP date; None when it is neither.

    Args:
        now: By the clock of whoever wrote the header.
    """
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = (parsedate_to_datetime(value) - now).total_seconds()
        except (ValueError, TypeError):
            return None
    longest = LONGEST_RETRY_AFTER.total_seconds()
    return timedelta(seconds=min(max(0.0, seconds), longest))


def upload_deadline(now: datetime, body_bytes: int) -> datetime:
    """The moment after which the last byte of a body is not handed over any more."""
    return now + UPLOAD_BASE + timedelta(seconds=body_bytes / UPLOAD_BYTES_PER_SECOND)


def clock_skew(headers: Mapping[str, str], now: datetime) -> timedelta | None:
    """The server's clock less ours, from a `Date` header; None without one."""
    try:
        return parsedate_to_datetime(headers["date"]) - now
    except (KeyError, ValueError, TypeError):
        return None


def wait_before_sending_again(
    sending: int, *, least: timedelta, asked: timedelta | None = None
) -> timedelta:
    """How long to wait after a sending that created nothing.

    Args:
        sending: Its number, from 1: each one that fails doubles the wait.
        least: The first wait.
        asked: What the API asked for (`retry-after`): then that, and a growing
            fraction of a second, so that a queue that stays full is not hammered.
    """
    first = SHORTEST_WAIT if asked is not None else least
    grown = min(first * 2 ** min(sending - 1, 20), LONGEST_WAIT)
    return max(grown, asked) if asked is not None else grown


def earliest_creation(intent: Intended) -> datetime:
    """No batch created before this moment, by the server's clock, can be ours."""
    return intent.intended_at + _skew(intent) - _tolerance(intent)


def latest_creation(intent: Intended, settled: timedelta) -> datetime:
    """No batch created after this moment, by the server's clock, can be ours.

    Args:
        settled: How long after the deadline a create may still take effect.
    """
    return intent.deadline + _skew(intent) + settled + _tolerance(intent)


def _skew(intent: Intended) -> timedelta:
    return timedelta(seconds=intent.clock_skew_seconds or 0.0)


def _tolerance(intent: Intended) -> timedelta:
    return UNKNOWN_CLOCK if intent.clock_skew_seconds is None else CLOCK_TOLERANCE


def time_since_deadline(
    intent: Intended, now: datetime, skew: timedelta | None
) -> timedelta:
    """How long the last byte cannot have been handed over any more; below 0: it can.

    Measured on the server's clock where ours has moved against it, so that it holds
    between machines whose clocks differ, and when ours was set since. What a `Date`
    header may be wrong by (whole seconds, a slow answer) counts as no movement.
    """
    since = now - intent.deadline
    if skew is None or intent.clock_skew_seconds is None:
        return since
    moved = skew - _skew(intent)
    return since + moved if abs(moved) > CLOCK_NOISE else since


def fitting(
    intent: Intended, listed: Iterable[MessageBatch], *, settled: timedelta
) -> list[MessageBatch]:
    """Pick the listed batches that this sending may have created, likeliest first."""
    since, until = earliest_creation(intent), latest_creation(intent, settled)
    expected = intent.intended_at + _skew(intent)
    found = [
        batch
        for batch in listed
        if batch.request_counts.total == intent.requests
        and since <= batch.created_at <= until
        and batch.id not in intent.foreign
    ]
    return sorted(found, key=lambda batch: abs(batch.created_at - expected))


@dataclass(frozen=True, slots=True)
class Adopt:
    """Take this batch for ours, provisionally."""

    batch: MessageBatch


@dataclass(frozen=True, slots=True)
class LookAgain:
    """A batch may still appear, or become free: look again after this time."""

    after: timedelta
    why: str


@dataclass(frozen=True, slots=True)
class SendAgain:
    """Nothing was created, and nothing can be any more."""


DISPUTE_WAIT: Final = timedelta(minutes=1)
"""Between looks at a batch that two sendings may have created, until it has ended and
shows whose it is."""


def reconcile(
    candidates: Sequence[MessageBatch],
    claims: Mapping[str, Proof],
    *,
    since_deadline: timedelta,
    settled: timedelta,
) -> Adopt | LookAgain | SendAgain:
    """Decide about a sending whose outcome nobody knows.

    Args:
        candidates: Batches that fit it, likeliest first.
        claims: The batches that other records in reach have taken, and why. What the
            API itself called theirs is theirs. What only fits them may be ours, so it
            is neither taken from them nor is anything sent before that is decided:
            sent again, rows of ours that are in it would be paid twice.
    """
    free = [batch for batch in candidates if batch.id not in claims]
    if free:
        return Adopt(free[0])
    if any(claims[batch.id] == "count" for batch in candidates):
        return LookAgain(DISPUTE_WAIT, "its batch may be one that another chunk took")
    if since_deadline >= settled:
        return SendAgain()
    why = "an unanswered create may still appear in the list"
    return LookAgain(settled - since_deadline, why)
