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
list of batches is read, newest first, down to the intent. A batch created since, with
exactly our number of requests and not known to any record in reach, is adopted
provisionally; its results prove it by the nonce once it has ended, or it is let go
unread. If the deadline and a grace for the list to catch up have passed and no
candidate is left, nothing was created, and only then the chunk is sent again.

**Guarantee.** A chunk has at most one batch that batchkit pays for, as long as the
list shows every accepted batch within the grace and keeps its `request_counts` total.
**Limits.** An API that accepts a body minutes after its last byte arrived, or that
hides an accepted batch for longer than the grace, can still make a second one. A
foreign batch of the same size, created in the same minutes, can be adopted by mistake
until it ends: its results are refused by the nonce, the rows are then looked for or
sent again, late but not wrong. Rows are only ever accepted under our own nonce.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final, Literal

from batchkit_tasks.batches import MessageBatch
from batchkit_tasks.records import Intended

NONCE_CHARS: Final = 16
"""64 bits of chance: no two sendings share a nonce, and 47 characters are left of the
64 that a custom_id may have."""

CLOCK_TOLERANCE: Final = timedelta(minutes=2)
"""What our measure of the server's clock may be wrong by, beyond the measured skew."""

UPLOAD_BASE: Final = timedelta(seconds=120)
"""Time that every upload gets, whatever its size."""

UPLOAD_BYTES_PER_SECOND: Final = 250_000
"""The slowest line on which an upload may still finish (2 Mbit/s)."""

SPEND_LIMIT_TEXTS: Final = (
    "You have reached your specified API usage limits",
    "You have reached your specified workspace API usage limits",
)
"""How the 400 of a self-set spend limit begins: it is no bad request."""

SPEND_LIMIT_CODES: Final = frozenset(
    {"enforced_spend_limit_reached", "contract_spend_limit_reached"}
)
"""`error_code` of the 429 that lasts until the month ends."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """The API answered with the batch that it created."""

    batch: MessageBatch


@dataclass(frozen=True, slots=True)
class NotSent:
    """No byte of the request reached the API: nothing was created."""

    why: str


@dataclass(frozen=True, slots=True)
class Busy:
    """The API said "not now" (429) and created nothing."""

    why: str
    retry_after: timedelta | None


@dataclass(frozen=True, slots=True)
class TooLarge:
    """The API refused the size of the body (413) and created nothing."""

    why: str


@dataclass(frozen=True, slots=True)
class Refused:
    """The API said no and created nothing; the same request is refused again."""

    kind: Literal["key", "spend", "request"]
    status: int
    error_type: str
    message: str


@dataclass(frozen=True, slots=True)
class Unclear:
    """Nobody knows whether a batch was created."""

    why: str


Outcome = Accepted | NotSent | Busy | TooLarge | Refused | Unclear
"""What a POST may have done."""


def judge_answer(
    status: int,
    error_type: str,
    message: str,
    *,
    error_code: str = "",
    retry_after: timedelta | None = None,
) -> Busy | TooLarge | Refused | Unclear:
    """Say what an error answer to a create means.

    - 429: the request was counted and turned away, so nothing exists; with a spend
      limit's code it will not change within the hour.
    - 413: turned away by its size, at the door.
    - 408, 409 and every 5xx (529 too): written by whatever stood between us and the
      batch; each was seen, or may come, after the batch was stored.
    - every other 4xx: the API read the request and refused it.
    """
    if error_code in SPEND_LIMIT_CODES or message.startswith(SPEND_LIMIT_TEXTS):
        return Refused("spend", status, error_type, message)
    if status == 429:
        return Busy(f"429 {error_type}: {message}", retry_after)
    if status == 413:
        return TooLarge(f"413 {error_type}: {message}")
    if status in (408, 409) or status >= 500:
        return Unclear(f"{status} {error_type}: {message}")
    if status in (401, 403):
        return Refused("key", status, error_type, message)
    return Refused("request", status, error_type, message)


def judge_failure(phase: Literal["connect", "later"], why: str) -> NotSent | Unclear:
    """Say what a failure without an answer means.

    Without a connection (refused, name not found, TLS, time-out while connecting) no
    byte of the body has left. Once connected, any failure may have come after the API
    had read the last byte.
    """
    return NotSent(why) if phase == "connect" else Unclear(why)


def parse_retry_after(value: str | None, now: datetime) -> timedelta | None:
    """Read a `retry-after` header: seconds or an HTTP date; None when it is neither."""
    if not value:
        return None
    try:
        return timedelta(seconds=max(0.0, float(value)))
    except ValueError:
        pass
    try:
        return max(timedelta(0), parsedate_to_datetime(value) - now)
    except (ValueError, TypeError):
        return None


def upload_deadline(now: datetime, body_bytes: int) -> datetime:
    """The moment after which the last byte of a body is not handed over any more."""
    return now + UPLOAD_BASE + timedelta(seconds=body_bytes / UPLOAD_BYTES_PER_SECOND)


def clock_skew(headers: Mapping[str, str], now: datetime) -> timedelta | None:
    """The server's clock less ours, from a `Date` header; None without one."""
    try:
        return parsedate_to_datetime(headers["date"]) - now
    except (KeyError, ValueError, TypeError):
        return None


def earliest_creation(intent: Intended) -> datetime:
    """No batch created before this moment, by the server's clock, can be ours."""
    skew = timedelta(seconds=intent.clock_skew_seconds)
    return intent.intended_at + skew - CLOCK_TOLERANCE


def find_candidates(
    intent: Intended, listed: Sequence[MessageBatch], claimed: Collection[str]
) -> list[MessageBatch]:
    """Pick the listed batches that this sending may have created, likeliest first.

    Args:
        listed: Batches of the workspace, at least down to `earliest_creation`.
        claimed: Ids that belong to other records in reach.
    """
    since = earliest_creation(intent)
    expected = intent.intended_at + timedelta(seconds=intent.clock_skew_seconds)
    fitting = [
        batch
        for batch in listed
        if batch.request_counts.total == intent.requests
        and batch.created_at >= since
        and batch.id not in claimed
        and batch.id not in intent.foreign
    ]
    return sorted(fitting, key=lambda batch: abs(batch.created_at - expected))


@dataclass(frozen=True, slots=True)
class Adopt:
    """Take this batch for ours, provisionally."""

    batch: MessageBatch


@dataclass(frozen=True, slots=True)
class LookAgain:
    """A batch may still appear: look again from this moment on."""

    at: datetime


@dataclass(frozen=True, slots=True)
class SendAgain:
    """Nothing was created, and nothing can be any more."""


def reconcile(
    intent: Intended,
    candidates: Sequence[MessageBatch],
    *,
    now: datetime,
    grace: timedelta,
) -> Adopt | LookAgain | SendAgain:
    """Decide about a sending whose outcome nobody knows."""
    if candidates:
        return Adopt(candidates[0])
    settled = intent.deadline + grace
    return SendAgain() if now >= settled else LookAgain(at=settled)
