"""What a report knows, brought up to date step by step."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from batchkit_tasks import steps
from batchkit_tasks.batches import MessageBatch
from batchkit_tasks.engine import Run
from batchkit_tasks.report.facts import read_facts
from batchkit_tasks.report.values import ReportFacts
from batchkit_tasks.sandbox.server import Sandbox
from tests.integration.running import credentials, job


def test_facts_that_are_kept_and_brought_up_to_date_are_those_read_anew(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    texts = [f"row {n}" for n in range(8)]
    texts += [f"[[errored:overloaded_error]] row {n}" for n in (8, 9)]
    pd.DataFrame({"text": texts}).to_parquet(tmp_path / "in.parquet")
    url = steps.stage_input(
        job(
            tmp_path / "in.parquet",
            tmp_path / "out.parquet",
            "{text}",
            advanced={"rows_per_batch": 5},
        )
    )
    key = credentials(sandbox.url)
    steps.plan_chunks(url)
    chunks = [chunk.number for chunk in Run(url).rounds()[0].chunks]
    known: ReportFacts | None = None
    shown: dict[str, MessageBatch] = {}

    def update() -> ReportFacts:
        nonlocal known
        known = read_facts(Run(url), known, shown)
        assert known == read_facts(Run(url), None, shown)
        return known

    update()
    for chunk in chunks:
        batch_id = steps.submit_chunk(url, chunk, key).batch_id
        assert update().lines[chunk].batch_id == batch_id
    while len((look := steps.poll_batches(url, key)).ended) < len(chunks):
        pass
    shown |= look.batches
    for chunk in chunks:
        steps.collect_batch(url, chunk, key)
        assert update().lines[chunk].state == "collected"

    lines = update().lines
    assert {line.batch_id for line in lines} == shown.keys()
    assert all(line.created_at for line in lines)
    assert sum(line.succeeded for line in lines) == 8
    assert sum(line.failed.get("errored", 0) for line in lines) == 2
