"""The same engine, one step after the other: what each phase costs."""

from __future__ import annotations

import time

from batchkit_tasks import steps
from batchkit_tasks.parameters import Job
from tests.bench.contenders.ours import job, key
from tests.bench.measuring import Meter, Work


def run(work: Work, meter: Meter) -> None:
    """Build (weigh and submit), collect, write."""
    asked: Job = job(work)
    credentials = key(work)
    with meter.phase("build"):
        run_url = steps.stage_input(asked)
        chunks = steps.plan_chunks(run_url)
    with meter.phase("submit"):
        for chunk in chunks:
            steps.submit_chunk(run_url, chunk, credentials)
    while len(steps.poll_batches(run_url, credentials).ended) < len(chunks):
        time.sleep(0.2)
    with meter.phase("collect"):
        for chunk in chunks:
            steps.collect_batch(run_url, chunk, credentials)
    with meter.phase("write"):
        steps.plan_rerun(run_url)
        summary = steps.write_output(run_url)
    assert summary.by_status == {"succeeded": summary.rows}, summary
