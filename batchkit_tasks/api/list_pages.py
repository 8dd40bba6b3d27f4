"""Reading the list of batches page by page, newest first, and knowing when it is read.

What is not in a list that was read to its end does not exist. What is not in half a
list may exist all the same, so half a list is never given out as one.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final

from batchkit_tasks.api.errors import Later
from batchkit_tasks.batches import BatchPage, MessageBatch

MAX_PAGES: Final = 200
"""A server that ignores `after_id` would list for ever; 200,000 batches are enough."""


def read_down_to(
    oldest: datetime,
    page_after: Callable[[str | None], BatchPage | Later],
    until_found: set[str] | None = None,
) -> list[MessageBatch] | Later:
    """Read pages until one reaches behind a creation time.

    Args:
        page_after: Gives the page that follows a batch; the first one for None.
        until_found: Stop once all of these were seen, and do not mind the rest.

    Returns:
        The batches; `Later` if not all of the list could be read.
    """
    listed: dict[str, MessageBatch] = {}
    after: str | None = None
    for _ in range(MAX_PAGES):
        page = page_after(after)
        if isinstance(page, Later):
            return page
        fresh = [batch for batch in page.data if batch.id not in listed]
        listed.update((batch.id, batch) for batch in fresh)
        if not page.has_more or (fresh and fresh[-1].created_at < oldest):
            return list(listed.values())
        if until_found is not None and until_found <= listed.keys():
            return list(listed.values())
        if not fresh:
            break
        after = page.last_id or fresh[-1].id
    if until_found is not None:
        return list(listed.values())
    again = f"the list shows the same {len(listed):,} batches again and again"
    return Later(again, endless=True)
