"""A message batch as the API describes it.

Decoded by ourselves and not by the SDK's models, which turn what they do not know into
the first type of a union. Unknown words pass through as they are; fields that a later
API leaves out are `None`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec


class RequestCounts(msgspec.Struct, frozen=True):
    """How many requests are in which state; their sum is the batch's size, always."""

    processing: int = 0
    succeeded: int = 0
    errored: int = 0
    canceled: int = 0
    expired: int = 0

    @property
    def total(self) -> int:
        """Number of requests in the batch."""
        return (
            self.processing
            + self.succeeded
            + self.errored
            + self.canceled
            + self.expired
        )


class MessageBatch(msgspec.Struct, frozen=True):
    """The state of one message batch."""

    id: str
    processing_status: str
    created_at: datetime
    expires_at: datetime | None = None
    request_counts: RequestCounts = RequestCounts()
    ended_at: datetime | None = None
    cancel_initiated_at: datetime | None = None
    archived_at: datetime | None = None

    @property
    def has_ended(self) -> bool:
        """Whether results can be read; every unknown status counts as running."""
        return self.processing_status == "ended"


class BatchPage(msgspec.Struct, frozen=True):
    """One page of the list, newest first."""

    data: list[MessageBatch]
    has_more: bool = False
    last_id: str | None = None


def latest_end(batches: Sequence[MessageBatch]) -> datetime | None:
    """The moment by which the API ends all of them, or None if it does not say."""
    return max((b.expires_at for b in batches if b.expires_at), default=None)
