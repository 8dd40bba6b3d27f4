"""How long things may take before they count as failed; operators can change it.

Each value can be set by an environment variable, in seconds. The defaults suit the
real API; tests of faults shorten them.
"""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Final


def _seconds(name: str, default: float) -> float:
    return float(os.environ.get(f"BATCHKIT_{name}_SECONDS", default))


def propagation_grace() -> timedelta:
    """After the last moment at which a create may have arrived, how long its batch may
    take to appear in the list. `BATCHKIT_PROPAGATION_GRACE_SECONDS`, 180."""
    return timedelta(seconds=_seconds("PROPAGATION_GRACE", 180))


def held_in_process() -> timedelta:
    """Waits up to this long are slept in the process even where the run could be
    suspended. `BATCHKIT_HELD_IN_PROCESS_SECONDS`, 45."""
    return timedelta(seconds=_seconds("HELD_IN_PROCESS", 45))


def unknown_batch_patience() -> timedelta:
    """How long a 404 for a batch of ours is taken for a passing fault.
    `BATCHKIT_UNKNOWN_BATCH_SECONDS`, 600: false ones were seen right after create, in
    mid-poll and on results (anthropic-sdk-python #1432)."""
    return timedelta(seconds=_seconds("UNKNOWN_BATCH", 600))


def shortest_suspension() -> timedelta:
    """A suspended run sleeps at least this long. `BATCHKIT_SHORTEST_SUSPENSION_SECONDS`,
    30: a run that is due again before its process has exited kills a worker that was
    started with `--limit` (Prefect up to 3.8.8), and workers fetch runs up to
    `PREFECT_WORKER_PREFETCH_SECONDS` (10) ahead. Never less than that and 5 seconds."""
    return timedelta(seconds=_seconds("SHORTEST_SUSPENSION", 30))


def answer_to_create() -> timedelta:
    """How long the API may think about a create before its answer counts as lost.
    `BATCHKIT_ANSWER_TO_CREATE_SECONDS`, 300: 100,000 requests take minutes to accept."""
    return timedelta(seconds=_seconds("ANSWER_TO_CREATE", 300))


def answer_to_read() -> timedelta:
    """How long a reading call may be silent before it is made again.
    `BATCHKIT_ANSWER_TO_READ_SECONDS`, 60."""
    return timedelta(seconds=_seconds("ANSWER_TO_READ", 60))


def without_connection() -> timedelta:
    """How long to wait when the API could not be reached, the first time.
    `BATCHKIT_WITHOUT_CONNECTION_SECONDS`, 5."""
    return timedelta(seconds=_seconds("WITHOUT_CONNECTION", 5))


def when_busy() -> timedelta:
    """How long to wait after a 429 that does not say how long, the first time.
    `BATCHKIT_WHEN_BUSY_SECONDS`, 30."""
    return timedelta(seconds=_seconds("WHEN_BUSY", 30))


def look_again() -> timedelta:
    """Between looks at a record that another process holds, or for a batch that may
    appear in the list. `BATCHKIT_LOOK_AGAIN_SECONDS`, 2."""
    return timedelta(seconds=_seconds("LOOK_AGAIN", 2))


REREADS: Final = (2.0, 10.0, 30.0, 60.0, 120.0)
"""Seconds between the readings of results that come short or cut."""


def reread_waits() -> tuple[float, ...]:
    """Seconds to wait before each further reading of results that came short.
    `BATCHKIT_REREAD_SECONDS` caps each of them."""
    longest = _seconds("REREAD", 120)
    return tuple(min(wait, longest) for wait in REREADS)
