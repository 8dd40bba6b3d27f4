"""Write what a stopped run has: its batches are collected, and nothing is sent any more.

For runs that were canceled, or that somebody does not want to go on with.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from batchkit_tasks import steps
from batchkit_tasks.engine import Run
from batchkit_tasks.records import Submitted
from batchkit_tasks.summary import RunSummary
from batchkit_tasks.waiting.polling import Look

if TYPE_CHECKING:
    from batchkit_tasks.keys import Key

NOT_SENT: Final = "not sent: the run was stopped before"


def salvage(
    run: str,
    credentials: Key,
    *,
    hold: bool,
    show: Callable[[Look], None] | None = None,
) -> RunSummary | None:
    """Collect every batch that has ended, and write the output table.

    Rows that were never sent become `skipped`. The run is not over by this: started
    again, it goes on with them. Safe to call again.

    Args:
        hold: Wait in this process for batches that still run.
        show: Called after each look.

    Returns:
        The summary; None if batches still run and nothing was waited for.

    Raises:
        BatchkitError: As the steps; what was collected stays in the run directory.
    """
    opened = Run(run)
    not_ours: set[int] = set()
    while _open_chunks(opened) - not_ours:
        look = steps.poll_batches(
            run, credentials, hold=hold, being_collected=not_ours, show=show
        )
        for chunk in look.ended:
            if steps.collect_batch(run, chunk, credentials) is None:
                not_ours.add(chunk)
        if look.running and not look.ended and not hold:
            return None
    steps.plan_chunks(run)
    planned = {chunk.number for round_ in opened.rounds() for chunk in round_.chunks}
    if planned <= opened.dir.collected():
        return steps.write_output(run)
    return steps.write_output(run, "skipped", NOT_SENT)


def _open_chunks(run: Run) -> set[int]:
    """Chunks whose batch exists and is not collected."""
    records = run.dir.latest_records(without=run.dir.collected())
    return {n for n, record in records.items() if isinstance(record, Submitted)}
