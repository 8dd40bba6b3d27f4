"""Look after batches with as little as that takes.

A deployed run wakes up to a hundred times a day, mostly to see that nothing has ended
yet. So nothing here loads Arrow, NumPy or prices: only the records, and the API.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from batchkit_tasks.api import Api
from batchkit_tasks.errors import RecordUnreadableError
from batchkit_tasks.parameters import Advanced
from batchkit_tasks.records import Intended, Submitted
from batchkit_tasks.run_dir import RunDir
from batchkit_tasks.waiting import polling
from batchkit_tasks.waiting.polling import Look

if TYPE_CHECKING:
    from batchkit_tasks.keys import Key


def poll_batches(
    run: str,
    credentials: Key,
    *,
    hold: bool = False,
    being_collected: Iterable[int] = (),
    until: datetime | None = None,
    wake: threading.Event | None = None,
    show: Callable[[Look], None] | None = None,
) -> Look:
    """Look at all open batches of the run; with `hold`, until one has ended.

    Args:
        hold: Wait in this process, looking at growing intervals.
        being_collected: Chunks whose end is known already.
        until: End the wait at this moment, if it comes first.
        wake: Set by others to end the wait early.
        show: Called after each look.

    Raises:
        KeyRefusedError: The key cannot read the batches. They go on.
        PollingError: The API does not know a batch of ours.
    """
    directory = RunDir(run)
    known = set(being_collected)
    check_every = timedelta(seconds=_advanced(directory).check_every_seconds)
    with Api(credentials) as api:
        while True:
            found = polling.look(
                api,
                directory,
                being_collected=known,
                check_every=check_every,
            )
            if show:
                show(found)
            at = min(found.next_look_at, until or found.next_look_at)
            if not hold or found.ended or not found.running or _woken(wake, at):
                return found
            if until and datetime.now(UTC) >= until:
                return found


def open_batches(directory: RunDir) -> dict[int, Submitted]:
    """The batches of a run whose results are not here yet, by their chunks."""
    records = directory.latest_records(without=directory.collected())
    return {c: record for c, record in records.items() if isinstance(record, Submitted)}


def only_waits(run: str, now: datetime | None = None) -> bool:
    """Whether a run has nothing to do until one of its batches ends.

    Not if a chunk can be sent or has an unknown fate, if everything is collected, or
    if a batch is older than the run's patience.
    """
    directory = RunDir(run)
    advanced = _advanced(directory)
    collected = directory.collected()
    records = directory.latest_records(without=collected)
    chunks = [c for round_ in directory.rounds() for c in round_.chunks]
    left = [(c, records.get(c.number)) for c in chunks if c.number not in collected]
    sent = [(c, r) for c, r in left if isinstance(r, Submitted)]
    unsent = [(c, r) for c, r in left if not isinstance(r, Submitted)]
    if not sent or any(isinstance(record, Intended) for _, record in unsent):
        return False
    oldest = (now or datetime.now(UTC)) - timedelta(hours=advanced.give_up_after_hours)
    if any(record.intent.intended_at < oldest for _, record in sent):
        return False
    flying = sum(chunk.requests for chunk, _ in sent)
    return (
        not unsent or flying + unsent[0][0].requests > advanced.max_requests_in_flight
    )


def _advanced(directory: RunDir) -> Advanced:
    plan = directory.plan()
    if plan is None:
        raise RecordUnreadableError(f"{directory.url}/plan.json", "it is not there")
    return Advanced.model_validate(plan.job["advanced"])


def _woken(wake: threading.Event | None, until: datetime) -> bool:
    """Sleep until the next look; True if others ended the wait."""
    seconds = max(0.0, (until - datetime.now(UTC)).total_seconds())
    if wake is None:
        time.sleep(seconds)
        return False
    return wake.wait(seconds)
