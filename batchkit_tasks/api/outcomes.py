"""What became of a create: every answer and every failure, on one page, with the reason.

*Not sent*, *busy*, *too large* and *refused* made no batch, so the rows may be sent
again in our own time. *Unclear* may have made one: it is never repeated, but looked
for (see `submission`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Literal

from batchkit_tasks.batches import MessageBatch

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
    """The body was turned away by its size (413), or too long for a slow line."""

    why: str
    by: Literal["api", "line"] = "api"


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
    body_was_whole: bool = True,
) -> NotSent | Busy | TooLarge | Refused | Unclear:
    """Say what an error answer to a create means.

    | answer | means | because |
    |---|---|---|
    | 429, 400 that tell of a spend limit | refused | lasts for days, not seconds |
    | 429 | busy | counted and turned away at the door |
    | 413 | too large | turned away by its size, at the door |
    | 408, 409, 5xx (529 too) | unclear | each may come after the batch was stored |
    | the same, before our last byte left | not sent | half a body makes no batch |
    | 401, 403 | refused: the key | read and refused |
    | 3xx, every other 4xx | refused: the request | read and refused, or not the API |
    """
    if error_code in SPEND_LIMIT_CODES or message.startswith(SPEND_LIMIT_TEXTS):
        return Refused("spend", status, error_type, message)
    if status == 429:
        return Busy(f"429 {error_type}: {message}", retry_after)
    if status == 413:
        return TooLarge(f"413 {error_type}: {message}")
    if status in (408, 409) or status >= 500:
        why = f"{status} {error_type}: {message}"
        return Unclear(why) if body_was_whole else NotSent(why)
    if status in (401, 403):
        return Refused("key", status, error_type, message)
    return Refused("request", status, error_type, message)


Phase = Literal["connect", "upload", "too slow", "answer"]
"""How far a create had come when it failed."""


def judge_failure(phase: Phase, why: str) -> NotSent | TooLarge | Unclear:
    """Say what a failure without an answer means.

    | phase | means | because |
    |---|---|---|
    | connect (refused, no such name, TLS, time-out) | not sent | no byte has left |
    | upload (reset, time-out while sending) | not sent | our last byte never left |
    | too slow (the deadline passed) | too large for this line | our last byte never left |
    | answer (anything after the last byte) | unclear | the API may have read it |
    """
    if phase == "answer":
        return Unclear(why)
    return TooLarge(why, by="line") if phase == "too slow" else NotSent(why)
