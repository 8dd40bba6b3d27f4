"""The flow `batch-sweep`: looks after all runs of `batch-table`, or one that ended.

Thin on purpose; what a sweep does and why is in `batchkit_tasks.sweeping`.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any
from uuid import UUID

from prefect import flow
from prefect.client.orchestration import get_client
from prefect.logging import get_run_logger
from pydantic import Field

from batchkit_tasks.flow_run.tracking import Tracker
from batchkit_tasks.sweeping import Sweep


def _ui(title: str, description: str, **bounds: Any) -> Any:
    return Field(
        json_schema_extra={"title": title, "description": description}, **bounds
    )


@flow(name="batch-sweep", persist_result=False)
def sweep(
    flow_run_id: Annotated[
        str, _ui("Flow run", "Clean up behind this one only; empty: sweep over all")
    ] = "",
    dead_after_minutes: Annotated[
        float,
        _ui(
            "Dead after (minutes)",
            "When a run has been Failed or Crashed for so long, its batches are canceled",
            gt=0,
        ),
    ] = 60.0,
    wakes_at_most: Annotated[
        int, _ui("Wakes at most", "Runs that are woken in one pass", ge=1)
    ] = 50,
) -> dict[str, Any]:
    """Look after runs that wait, and clean up behind runs that are over.

    - Wakes runs of which a message batch has ended: minutes sooner than they would
      have looked themselves.
    - Starts runs again that crashed or got stuck on their way.
    - Cancels the message batches of canceled and dead runs, after keeping what had
      finished.

    Nothing depends on it but these minutes: without it, runs wake by themselves.
    """
    logger = get_run_logger()
    with get_client(sync_client=True) as client:
        one_pass = Sweep(
            Tracker(client),
            logger.info,
            dead_after=timedelta(minutes=dead_after_minutes),
            wakes_at_most=wakes_at_most,
        )
        swept = (
            one_pass.behind(UUID(flow_run_id)) if flow_run_id else one_pass.everything()
        )
    for problem in swept.problems:
        logger.warning(problem)
    return swept.as_dict()
