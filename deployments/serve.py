"""Everything in one process, for a laptop: `python deployments/serve.py`.

Registers the block type, deploys the form and the sweep, and runs their flow runs as
processes of its own, until it is interrupted. Runs that wait then go on when it is
started again. For more than one machine, use `deploy.py` and a worker.
"""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path
from typing import Any, cast
from uuid import UUID

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
sys.path.insert(0, str(ROOT / "deployments"))

from deploy import (  # noqa: E402
    answers,
    cleaning_up_behind_canceled_runs,
    credentials_block,
    refuse_cancel_new,
    save_automation,
)
from prefect import Flow, get_client, serve  # noqa: E402
from prefect.deployments.runner import RunnerDeployment  # noqa: E402

from batchkit_tasks import BatchkitError  # noqa: E402
from flows.batch_table import batch_table  # noqa: E402
from flows.sweep import sweep  # noqa: E402


def main() -> int:
    """Serve until interrupted."""
    try:
        with get_client(sync_client=True) as client:
            if not answers(client):
                print("No server answers: is it running?")
                return 2
            refuse_cancel_new(client)
            block = credentials_block()
    except BatchkitError as error:
        print(error)
        return 2
    form = _deployment(
        batch_table,
        "laptop",
        parameters={"credentials": {"$ref": {"block_document_id": str(block)}}},
    )
    sweeper = _deployment(sweep, "laptop-sweep", interval=timedelta(minutes=2))
    cleaner = _deployment(sweep, "laptop-clean-up")
    clean_up = cast(UUID, cleaner.apply())
    with get_client(sync_client=True) as client:
        save_automation(client, cleaning_up_behind_canceled_runs(clean_up))
    serve(form, sweeper, cleaner, limit=4)
    return 0


def _deployment(flow: Flow[..., Any], name: str, **more: Any) -> RunnerDeployment:
    """A deployment of a flow; Prefect types it as one, or as a coroutine."""
    return cast(RunnerDeployment, flow.to_deployment(name, tags=["anthropic"], **more))


if __name__ == "__main__":
    sys.exit(main())
