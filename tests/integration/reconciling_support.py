"""Creates whose outcome nobody knows, as the tests make and settle them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from msgspec.structs import replace

from batchkit_tasks import steps
from batchkit_tasks.api import Api
from batchkit_tasks.engine import Run
from batchkit_tasks.parameters import Job
from batchkit_tasks.records import ChunkRecord, Intended, Submitted
from batchkit_tasks.sandbox.server import Sandbox
from batchkit_tasks.steps.reconciling import NotYet
from batchkit_tasks.steps.sending import send_chunk
from tests.integration.running import credentials, job, positions_sent, read, run_job


@pytest.fixture
def api(held_sandbox: Sandbox) -> Iterator[Api]:
    """The API as our key sees it."""
    with Api(credentials(held_sandbox.url)) as made:
        yield made


@pytest.fixture
def asked(tmp_path: Path) -> Job:
    """A job over three rows, each in a batch of its own: no count tells them apart."""
    source = tmp_path / "in.parquet"
    pd.DataFrame({"text": ["a", "b", "c"]}).to_parquet(source)
    advanced = {"rows_per_batch": 1, "check_every_seconds": 0.1}
    return job(source, tmp_path / "out.parquet", "{text}", advanced=advanced)


@pytest.fixture
def run(asked: Job) -> Run:
    """The run, planned."""
    url = steps.stage_input(asked)
    steps.plan_chunks(url)
    return Run(url)


def lose_answers(run: Run, sandbox: Sandbox, api: Api, chunks: int) -> list[str]:
    """Send chunks whose creates are accepted and not answered; return the batches."""
    for number in range(chunks):
        sandbox.fault("create", "accepted_then_closed")
        assert isinstance(send_chunk(run, run.chunk(number), api), NotYet)
    return [batch.id for batch in sandbox.ledger().batches()]


def latest(run: Run, chunk: int) -> ChunkRecord | None:
    """The record of a chunk's last sending."""
    return run.dir.latest_record(chunk)[1]


def rewrite(run: Run, chunk: int, **fields: Any) -> Intended:
    """Change an intent, as if another process had written it."""
    record = latest(run, chunk)
    assert isinstance(record, Intended)
    changed = replace(record, **fields)
    assert run.dir.move_on(record, changed)
    return changed


def provisional(intent: Intended, batch_id: str) -> Submitted:
    """The record of a batch that was found by its size."""
    now = datetime.now(UTC)
    return Submitted(
        intent=intent,
        batch_id=batch_id,
        created_at=now,
        expires_at=now + timedelta(days=1),
        proof="count",
    )


def finish(asked: Job, sandbox: Sandbox) -> None:
    """Let the run come to its end: every row is answered, and was bought once."""
    sandbox.settings.batch_seconds = 0.0
    sandbox.end_all()
    run_job(asked, sandbox.url)
    assert [row["_status"] for row in read(asked.output)] == ["succeeded"] * 3
    assert positions_sent(sandbox) == [0, 1, 2]
