"""The same job as the flow `batch-table`, against the Prefect server of the environment."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Generator
from pathlib import Path
from uuid import UUID

from prefect import get_client
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.sorting import FlowRunSort

from flows.batch_table import batch_table
from tests.bench.contenders.ours import job, key
from tests.bench.measuring import Meter, Work


def run(work: Work, meter: Meter) -> None:
    """Run the flow in this process, and count its task runs."""
    assert os.environ.get("PREFECT_API_URL"), "a real server, not one of its own"
    asked = job(work)
    calls = ApiCalls()
    with meter.phase("all"), calls.counted():
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
        "api_calls": calls.count,
        "task_runs": task_runs(),
    }


class ApiCalls(logging.Handler):
    """Counts the calls of the Prefect API: the library under its client logs each."""

    LIBRARY = logging.getLogger("httpx")

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.count = 0

    @contextlib.contextmanager
    def counted(self) -> Generator[None]:
        """Count those of the block."""
        before = self.LIBRARY.level
        self.LIBRARY.setLevel(logging.INFO)
        self.LIBRARY.addHandler(self)
        try:
            yield
        finally:
            self.LIBRARY.removeHandler(self)
            self.LIBRARY.setLevel(before)

    def emit(self, record: logging.LogRecord) -> None:
        self.count += os.environ["PREFECT_API_URL"] in record.getMessage()


def task_runs() -> int:
    """Task runs of the newest flow run, once the server has heard of all of them."""
    with get_client(sync_client=True) as client:
        newest, *_ = client.read_flow_runs(sort=FlowRunSort.START_TIME_DESC, limit=1)
        before, found = -1, 0
        while found != before:
            time.sleep(2)
            before, found = found, _count(client, newest.id)
        return found


def _count(client: SyncPrefectClient, flow_run_id: UUID) -> int:
    wanted = FlowRunFilter(id=FlowRunFilterId(any_=[flow_run_id]))
    found = 0
    while True:
        page = client.read_task_runs(flow_run_filter=wanted, limit=200, offset=found)
        found += len(page)
        if len(page) < 200:
            return found
