"""Cancel what a run has at the API, and nothing that could be somebody else's."""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from batchkit_tasks import patience
from batchkit_tasks.api import Api
from batchkit_tasks.api.errors import Later
from batchkit_tasks.engine import Run
from batchkit_tasks.records import ChunkRecord, Intended, Submitted
from batchkit_tasks.steps.reconciling import NotYet, settle
from batchkit_tasks.waiting.workspaces import check_workspace

if TYPE_CHECKING:
    from batchkit_tasks.keys import Key

LOGGER = logging.getLogger("batchkit")


def cancel_batches(run: str, credentials: Key) -> list[str]:
    """Ask the API to cancel every batch of the run that may still be running.

    What has finished by then keeps its answer; canceled requests are not billed. Safe
    to call again. First come the batches that are known; then a create whose answer
    was lost is looked for, for a short while. A batch that only fits by its size is
    named in the log and left alone: it may be somebody else's.

    Returns:
        The ids of the batches that are canceling now.
    """
    opened = Run(run)
    collected = opened.dir.collected()
    records = list(opened.dir.records())
    canceling: list[str] = []
    with Api(credentials) as api:
        api.preflight()
        for record in records:
            check_workspace(record, api)
            ours = _surely_ours(record)
            if ours and ours.intent.chunk not in collected:
                canceling += _cancel(ours, api)
        limit = datetime.now(UTC) + patience.held_in_process()
        for record in records:
            if isinstance(record, Intended):
                canceling += _cancel_unanswered(opened, record, api, limit)
    return canceling


def _surely_ours(record: ChunkRecord | None) -> Submitted | None:
    """The record, if it has a batch that is ours beyond doubt."""
    if not isinstance(record, Submitted):
        return None
    if record.proof == "count":
        LOGGER.warning(
            "%s may be a batch of this run, or somebody else's of the same size. It is "
            "not canceled; look at it in the Console.",
            record.batch_id,
        )
        return None
    return record


def _cancel(record: Submitted, api: Api) -> list[str]:
    found = api.retrieve(record.batch_id)
    if isinstance(found, Later) or not found.has_ended:
        found = api.cancel(record.batch_id)
    is_over = not isinstance(found, Later) and found.has_ended
    return [] if is_over else [record.batch_id]


def _cancel_unanswered(
    run: Run, intent: Intended, api: Api, limit: datetime
) -> list[str]:
    """Look for the batch of a create whose answer was lost, and cancel it."""
    while True:
        record = run.dir.record(intent.chunk, intent.sending)
        found = settle(run, record, api) if isinstance(record, Intended) else record
        if not isinstance(found, NotYet):
            ours = _surely_ours(found)
            return _cancel(ours, api) if ours else []
        if found.at > limit:
            LOGGER.warning(
                "A batch of %s requests may exist that cannot be seen yet (%s). Cancel "
                "the run again in some minutes.",
                f"{intent.requests:,}",
                found.why,
            )
            return []
        time.sleep(max(0.0, (found.at - datetime.now(UTC)).total_seconds()))
