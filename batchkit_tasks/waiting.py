"""When to look at message batches again."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from batchkit_tasks.batches import MessageBatch, latest_end
from batchkit_tasks.limits import LONGEST_LOOK, SHORTEST_LOOK

GROWTH: Final = 1.5
"""Each wait is longer than the one before by this factor, until `LONGEST_LOOK`."""

AFTER_EXPIRY: Final = timedelta(seconds=60)
"""A look shortly after the API's own deadline finds the last batch ended."""


def next_look(
    now: datetime,
    *,
    looks: int,
    check_every: timedelta,
    retry_after: timedelta | None = None,
    ends_by: datetime | None = None,
    jitter: float = 0.0,
) -> datetime:
    """The moment of the next look.

    Args:
        looks: How many looks there were since something last changed, from 0.
        check_every: The shortest wait; `retry_after` is a floor under it.
        ends_by: The API's own deadline for the batches: one look falls right after it.
        jitter: 0 to 1; spreads the looks of many runs over a tenth of the wait.
    """
    wait = min(check_every * GROWTH**looks, max(LONGEST_LOOK, check_every))
    wait = max(wait * (1 + 0.1 * jitter), retry_after or SHORTEST_LOOK, SHORTEST_LOOK)
    if ends_by and now < ends_by + AFTER_EXPIRY < now + wait:
        wait = max(ends_by + AFTER_EXPIRY - now, retry_after or SHORTEST_LOOK)
    return now + wait


def waiting_message(
    batches: Sequence[MessageBatch], *, total: int, next_look_at: datetime
) -> str:
    """One sentence for the state of a waiting run.

    Args:
        batches: Those that have not ended.
        total: All message batches of the round.
    """
    noun = "message batch" if total == 1 else "message batches"
    message = (
        f"{total:,} {noun} at Anthropic, {total - len(batches):,} of {total:,} ended."
    )
    if end := latest_end(batches):
        message += f" All end by {end:%d %b %H:%M} UTC."
    return message + f" Next look {next_look_at:%H:%M} UTC."
