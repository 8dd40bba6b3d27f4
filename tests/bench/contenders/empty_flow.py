"""What Prefect itself takes: a flow with two task runs a message batch that do nothing."""

from __future__ import annotations

import contextvars
from concurrent.futures import ThreadPoolExecutor

import pyarrow.parquet as pq
from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.events.worker import EventsWorker

from tests.bench.contenders.flow import task_runs
from tests.bench.measuring import Meter, Work

THREADS = 6
"""As many as send and collect."""


@task(cache_policy=NO_CACHE, persist_result=False)
def do_nothing(batch: int) -> int:
    """Stand where a batch is submitted or collected."""
    return batch


@flow
def empty_flow(batches: int) -> None:
    """Run two tasks a batch, side by side."""
    with ThreadPoolExecutor(THREADS) as pool:
        runs = [
            pool.submit(contextvars.copy_context().run, do_nothing, batch)
            for batch in range(2 * batches)
        ]
    assert [run.result() for run in runs] == [*range(2 * batches)]


def run(work: Work, meter: Meter) -> None:
    """Run it for as many message batches as the table makes."""
    rows = pq.read_metadata(work.source).num_rows
    batches = -(-rows // work.rows_per_batch)
    with meter.phase("all"):
        empty_flow(batches)
        EventsWorker.drain_all()  # they are sent meanwhile where a flow takes longer
    meter.facts = {"batches": batches, "task_runs": task_runs()}
