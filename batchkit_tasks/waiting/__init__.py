"""When to look at message batches again.

Here too: the looks themselves (`polling`, `looking`), and the bar that shows them.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from batchkit_tasks.batches import MessageBatch, latest_end
from batchkit_tasks.limits import LONGEST_LOOK, SHORTEST_LOOK

SHARE_OF_AGE: Final = 0.5
"""Each wait is this share of the time waited so far, so that waits grow by half each.
It needs no memory: a run that starts again from the top goes on where it was."""

AFTER_EXPIRY: Final = timedelta(seconds=60)
"""A look shortly after the API's own deadline finds the last batch ended."""


def next_look(
    now: datetime,
    *,
    waiting_since: datetime,
    check_every: timedelta,
    retry_after: timedelta | None = None,
    ends_by: datetime | None = None,
    jitter: float = 0.0,
) -> datetime:
    """The moment of the next look.

    Args:
        waiting_since: When the newest batch that is waited for was sent, by our clock.
        check_every: The shortest wait; `retry_after` is a floor under it.
        ends_by: The API's own deadline for the batches: one look falls right after it.
        jitter: 0 to 1; spreads the looks of many runs over a tenth of the wait.
    """
    floor = max(retry_after or SHORTEST_LOOK, SHORTEST_LOOK)
    grown = max(check_every, min(LONGEST_LOOK, (now - waiting_since) * SHARE_OF_AGE))
    wait = max(grown * (1 + 0.1 * jitter), floor)
    if ends_by and now < ends_by + AFTER_EXPIRY < now + wait:
        wait = max(ends_by + AFTER_EXPIRY - now, floor)
    return now + wait


def waiting_message(
    running: Sequence[MessageBatch], *, total: int, next_look_at: datetime
) -> str:
    """Say in a few words what a run waits for.

    Args:
        running: The batches that have not ended.
        total: All message batches of the round.
    """
    noun = "message batch" if total == 1 else "message batches"
    message = (
        f"{total:,} {noun} at Anthropic, {total - len(running):,} of {total:,} ended."
    )
    if end := latest_end(running):
        message += f" All end by {end:%d %b %H:%M} UTC."
    return message + f" Next look {next_look_at:%H:%M} UTC."
