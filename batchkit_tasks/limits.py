"""The numbers of the API and our own, each with its source.

"Docs" is Anthropic's documentation of the Message Batches API as of November 2026.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Final

MAX_REQUESTS_PER_BATCH: Final = 10_000
"""Our limit. The API's own is 100,000; smaller batches end sooner and fail smaller."""

API_MAX_REQUESTS_PER_BATCH: Final = 100_000
"""The API's limit (docs)."""

API_MAX_BATCH_BYTES: Final = 256_000_000
"""The API's limit is "256 MB" (docs); we take the smaller, decimal reading."""

MAX_BATCH_BYTES_MARGIN: Final = 1_000_000
"""Kept free below the API's limit: what exactly it counts is not documented."""

CUSTOM_ID: Final = re.compile(r"^[a-zA-Z0-9_-]{1,64}$")
"""What the API accepts as a custom_id (docs)."""

BATCH_LIFETIME: Final = timedelta(hours=24)
"""The API ends every batch by then; what has not run is `expired` (docs)."""

RESULTS_LIFETIME: Final = timedelta(days=29)
"""Counted from `created_at`; afterwards the results are gone (docs)."""

MAX_QUEUED_REQUESTS: Final = 200_000
"""Requests in processing at once in the smallest usage tier, all batches of the
organization together (docs). `max_requests_in_flight` overrides it."""

LIST_PAGE_SIZE: Final = 1000
"""The most that one page of the batch list may hold (docs)."""

SHORTEST_LOOK: Final = timedelta(milliseconds=100)
"""No two looks closer than this, whatever `check_every_seconds` says."""

LONGEST_LOOK: Final = timedelta(minutes=15)
"""The interval between looks grows up to this."""

RESERVED_PARAMS: Final = {
    "custom_id": "batchkit gives each request its own",
    "model": "use the parameter model",
    "messages": "use the parameter prompt",
    "max_tokens": "use max_tokens in advanced",
    "system": "use system in advanced",
    "stream": "a message batch cannot stream",
    "speed": "fast mode does not exist in message batches",
    "store": "it is refused in message batches",
    "previous_thread_event_id": "threads do not exist in message batches",
    "cache_hint": "it is refused in message batches",
    "context_hint": "it is refused in message batches",
    "fallbacks": "it is refused in message batches",
    "betas": "betas are set by header, for a whole batch",
    "output_format": "its old name; use the parameter answer",
}
"""Keys that `request` may not set, and why. The API accepts a batch with them and
then fails every row, up to 24 hours later (docs: params are validated when run)."""

STRUCTURAL_COLUMNS: Final = ("_status", "_error", "_meta")
"""The bookkeeping columns of every output table."""
