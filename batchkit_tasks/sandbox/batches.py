"""A message batch, whose state is computed from the clock.

Nothing runs in the background while a batch "runs": what it is at a moment follows from
when it was created, when it would end, whether it was canceled. So a moved clock is
enough to see 24 hours pass.

`kinds` holds one byte for each request in the order in which they complete, which is
the order of the result lines. A canceled or expired batch is that order cut off.
"""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from batchkit_tasks.sandbox.clock import timestamp
from batchkit_tasks.sandbox.results import CANCELED, COUNTED, EXPIRED, MISSING
from batchkit_tasks.sandbox.validation import Rules

EXPIRES_AFTER: Final = 24 * 3600.0
ARCHIVED_AFTER: Final = 29 * 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Ending:
    """When a batch ends, why, and how many of its requests have run by then."""

    at: float
    reason: Literal["finished", "canceled", "expired"]
    requests_run: int


@dataclass(slots=True)
class Batch:
    """One accepted batch."""

    id: str
    number: int
    workspace: str
    key: str
    created_at: float
    requests: int
    body_bytes: int
    rules: Rules
    runs_until: float | None
    listed_from: float
    expire_share: float
    cancel_initiated_at: float | None = None
    cancel_until: float | None = None
    cancel_share: float = 0.5
    progress: float | None = None
    deleted: bool = False
    foreign: bool = False
    kinds: Future[bytes] = field(default_factory=Future[bytes])

    @property
    def expires_at(self) -> float:
        return self.created_at + EXPIRES_AFTER

    def ending(self) -> Ending:
        """Return how this batch will end as things stand; at the latest it expires."""
        expired = Ending(self.expires_at, "expired", self._share(self.expire_share))
        ends = [expired]
        if self.cancel_initiated_at is not None:
            if self.cancel_until is not None:
                run = self._share(self.cancel_share)
                ends.append(Ending(self.cancel_until, "canceled", run))
        elif self.runs_until is not None:
            ends.append(Ending(self.runs_until, "finished", self.requests))
        return min(ends, key=lambda end: end.at)

    def has_ended(self, now: float) -> bool:
        return now >= self.ending().at

    def status(self, now: float) -> str:
        """Return `processing_status`."""
        if self.has_ended(now):
            return "ended"
        return "in_progress" if self.cancel_initiated_at is None else "canceling"

    def share_run(self, now: float) -> float:
        """Return the share of the requests that have run, where that is shown."""
        if self.progress is not None:
            return self.progress
        if self.runs_until is None:
            return 0.0
        whole = max(self.runs_until - self.created_at, 1e-9)
        return min(1.0, max(0.0, (now - self.created_at) / whole))

    def _share(self, share: float) -> int:
        return int(self.requests * share)


def final_kinds(batch: Batch) -> bytes:
    """Return the kinds of an ended batch; waits until they are known."""
    ending, kinds = batch.ending(), batch.kinds.result()
    rest = {"finished": b"", "canceled": bytes((CANCELED,))}.get(
        ending.reason, bytes((EXPIRED,))
    )
    if not rest or ending.requests_run >= len(kinds):
        return kinds
    run, cut = kinds[: ending.requests_run], kinds[ending.requests_run :]
    # A missing row has no line to be rewritten: it stays missing.
    keep = bytes(code if code == MISSING else rest[0] for code in range(256))
    return run + cut.translate(keep)


def count_kinds(kinds: bytes, requests: int) -> dict[str, int]:
    """Return the five request counts; what is not among the kinds is processing."""
    counts = {"processing": requests - len(kinds)}
    for name, codes in COUNTED.items():
        counts[name] = sum(kinds.count(code) for code in codes)
    return counts


def request_counts(batch: Batch, now: float, *, moving: bool) -> dict[str, int]:
    """Return the counts at a moment: all processing until the end, unless `moving`."""
    if batch.has_ended(now):
        return count_kinds(final_kinds(batch), batch.requests)
    if not (moving or batch.progress is not None) or not batch.kinds.done():
        return count_kinds(b"", batch.requests)
    until = now if batch.cancel_initiated_at is None else batch.cancel_initiated_at
    done = int(batch.requests * batch.share_run(until))
    return count_kinds(batch.kinds.result()[:done], batch.requests)


def describe(
    batch: Batch, now: float, *, host: str, moving: bool, keeps_archived_url: bool
) -> dict[str, Any]:
    """Return the ten keys of a MessageBatch."""
    ended = batch.has_ended(now)
    archived_at = batch.created_at + ARCHIVED_AFTER
    archived = ended and now >= archived_at
    has_url = ended and (not archived or keeps_archived_url)
    canceled_at = batch.cancel_initiated_at
    return {
        "id": batch.id,
        "type": "message_batch",
        "processing_status": batch.status(now),
        "request_counts": request_counts(batch, now, moving=moving),
        "created_at": timestamp(batch.created_at),
        "expires_at": timestamp(batch.expires_at),
        "ended_at": timestamp(batch.ending().at) if ended else None,
        "cancel_initiated_at": None if canceled_at is None else timestamp(canceled_at),
        "archived_at": timestamp(archived_at) if archived else None,
        "results_url": f"{host}/v1/messages/batches/{batch.id}/results"
        if has_url
        else None,
    }


def is_archived(batch: Batch, now: float) -> bool:
    """Return whether the results are gone."""
    return now >= batch.created_at + ARCHIVED_AFTER
