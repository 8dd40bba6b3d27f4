"""One page of the list of batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from batchkit_tasks.sandbox.batches import Batch
from batchkit_tasks.sandbox.wire import ApiError

DEFAULT_LIMIT: Final = 20
LARGEST_LIMIT: Final = 1000


@dataclass(frozen=True, slots=True)
class Page:
    """Some batches, newest first, and whether more lie in the direction asked."""

    batches: Sequence[Batch]
    has_more: bool


def read_page(
    listed: Sequence[Batch], query: Mapping[str, str], *, ignores_after_id: bool
) -> Page:
    """Cut the page that a query asks for out of the list, which is newest first.

    Raises:
        ApiError: 400, for a limit out of range or an unknown cursor.
    """
    limit = _limit(query.get("limit"))
    after, before = query.get("after_id"), query.get("before_id")
    if after and before:
        raise ApiError(400, "after_id, before_id: only one of them may be given")
    if after and not ignores_after_id:
        rest = listed[_position(listed, "after_id", after) + 1 :]
        return Page(rest[:limit], len(rest) > limit)
    if before:
        newer = listed[: _position(listed, "before_id", before)]
        return Page(newer[-limit:], len(newer) > limit)
    return Page(listed[:limit], len(listed) > limit)


def _limit(written: str | None) -> int:
    if written is None:
        return DEFAULT_LIMIT
    try:
        limit = int(written)
    except ValueError:
        raise ApiError(400, "limit: Input should be a valid integer") from None
    if limit < 1:
        raise ApiError(400, "limit: Input should be greater than or equal to 1")
    if limit > LARGEST_LIMIT:
        raise ApiError(
            400, f"limit: Input should be less than or equal to {LARGEST_LIMIT}"
        )
    return limit


def _position(listed: Sequence[Batch], name: str, batch_id: str) -> int:
    for at, batch in enumerate(listed):
        if batch.id == batch_id:
            return at
    raise ApiError(400, f"{name}: no message batch with the id {batch_id}")
