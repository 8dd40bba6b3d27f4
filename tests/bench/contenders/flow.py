"""The same job as the flow `batch-table`, against the Prefect server of the environment."""

from __future__ import annotations

import os
from pathlib import Path

from prefect import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.sorting import FlowRunSort

from flows.batch_table import batch_table
from tests.bench.contenders.ours import job, key
from tests.bench.measuring import Meter, Work


def run(work: Work, meter: Meter) -> None:
    """Run the flow in this process, and count its task runs."""
    assert os.environ.get("PREFECT_API_URL"), "a real server, not one of its own"
    asked = job(work)
    with meter.phase("all"):
        summary = batch_table(
            source=asked.source,
            prompt=asked.prompt,
            credentials=key(work),
            output=asked.output,
            model=asked.model,
            answer=asked.answer,
            advanced=asked.advanced,
        )
    assert summary["by_status"] == {"succeeded": summary["rows"]}, summary
    files = sum(path.is_file() for path in Path(summary["run"]).rglob("*"))
    meter.facts = {
        "batches": len(summary["batches"]),
        "files": files,
        "task_runs": task_runs(),
    }


def task_runs() -> int:
    """Task runs of the newest flow run."""
    with get_client(sync_client=True) as client:
        newest, *_ = client.read_flow_runs(sort=FlowRunSort.START_TIME_DESC, limit=1)
        found, offset = 0, 0
        while True:
            page = client.read_task_runs(
                flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[newest.id])),
                limit=200,
                offset=offset,
            )
            found, offset = found + len(page), offset + 200
            if len(page) < 200:
                return found
