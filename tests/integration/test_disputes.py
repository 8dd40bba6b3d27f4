"""Batches of one size whose answers are lost: in the end, each is its owner's."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest
from msgspec.structs import replace

from batchkit_tasks import steps
from batchkit_tasks.api import Api
from batchkit_tasks.engine import Run
from batchkit_tasks.parameters import Job
from batchkit_tasks.records import Intended, Submitted
from batchkit_tasks.sandbox.server import Sandbox
from batchkit_tasks.steps.reconciling import NotYet
from batchkit_tasks.steps.sending import send_chunk
from tests.integration.impatience import impatient
from tests.integration.reconciling_support import (
    api,
    asked,
    finish,
    latest,
    lose_answers,
    provisional,
    rewrite,
    run,
)
from tests.integration.running import (
    credentials,
    job,
    positions_sent,
    read,
    run_job,
)

__all__ = ["api", "asked", "impatient", "run"]
pytestmark = pytest.mark.usefixtures("impatient")


def test_two_lost_answers_of_one_size_are_told_apart_in_the_end(
    held_sandbox: Sandbox, api: Api, run: Run, asked: Job
) -> None:
    """Each adopts one; if it is the other's, they swap, and nothing is sent again."""
    first, second = lose_answers(run, held_sandbox, api, 2)
    for chunk, wrong in ((0, second), (1, first)):
        intent = latest(run, chunk)
        assert isinstance(intent, Intended)
        assert run.dir.move_on(intent, provisional(intent, wrong))

    finish(asked, held_sandbox)

    records = [latest(run, chunk) for chunk in (0, 1)]
    assert [r.batch_id for r in records if isinstance(r, Submitted)] == [first, second]


def test_a_batch_that_another_chunk_took_by_its_size_holds_up_sending_again(
    held_sandbox: Sandbox, api: Api, run: Run, asked: Job
) -> None:
    """It may be ours: sent again, its row would be paid twice."""
    (theirs,) = lose_answers(run, held_sandbox, api, 1)
    held_sandbox.fault("create", "server_error")
    assert isinstance(send_chunk(run, run.chunk(1), api), NotYet)
    adopted = send_chunk(run, run.chunk(1), api)
    assert isinstance(adopted, Submitted)
    assert (adopted.batch_id, adopted.proof) == (theirs, "count")
    rewrite(run, 0, deadline=datetime.now(UTC) - timedelta(seconds=100))

    waiting = send_chunk(run, run.chunk(0), api)

    assert isinstance(waiting, NotYet)
    assert "another chunk took" in waiting.why
    finish(asked, held_sandbox)
    first = latest(run, 0)
    assert isinstance(first, Submitted)
    assert first.batch_id == theirs


def test_what_was_found_by_its_size_is_proved_once_it_has_ended(
    held_sandbox: Sandbox, api: Api, run: Run
) -> None:
    """Nobody else waits for it from then on."""
    lose_answers(run, held_sandbox, api, 1)
    found = send_chunk(run, run.chunk(0), api)
    assert isinstance(found, Submitted)
    assert found.proof == "count"
    held_sandbox.end_all()

    assert steps.collect_batch(run.url, 0, credentials(held_sandbox.url))

    assert latest(run, 0) == replace(found, proof="nonce")


def test_a_dispute_ends_when_the_api_itself_names_the_owner(
    held_sandbox: Sandbox, api: Api, run: Run, asked: Job
) -> None:
    sent = send_chunk(run, run.chunk(0), api)
    assert isinstance(sent, Submitted)
    held_sandbox.fault("create", "accepted_then_closed")
    send_chunk(run, run.chunk(1), api)
    intent = latest(run, 1)
    assert isinstance(intent, Intended)
    assert run.dir.move_on(intent, replace(sent, intent=intent, proof="count"))

    steps.poll_batches(run.url, credentials(held_sandbox.url))

    freed = latest(run, 1)
    assert isinstance(freed, Intended)
    assert freed.foreign == (sent.batch_id,)
    finish(asked, held_sandbox)


def job_with_a_missing_row(folder: Path, *texts: str) -> tuple[Job, Run]:
    """Rows in batches of their own; who is `[[missing]]` gets no line."""
    source = folder / "missing-in.parquet"
    pd.DataFrame({"text": texts}).to_parquet(source)
    advanced = {"rows_per_batch": 1, "check_every_seconds": 0.1, "attempts": 1}
    advanced["fail_above_percent"] = 90
    asked = job(source, folder / "missing.parquet", "{text}", advanced=advanced)
    run = steps.stage_input(asked)
    steps.plan_chunks(run)
    return asked, Run(run)


def test_nobody_waits_for_a_batch_that_ended_without_a_line(
    held_sandbox: Sandbox, api: Api, tmp_path: Path
) -> None:
    """It never shows a nonce, so whose it is would never be decided."""
    asked, run = job_with_a_missing_row(tmp_path, "[[missing]]", "b")
    lose_answers(run, held_sandbox, api, 1)
    held_sandbox.fault("create", "server_error")
    assert isinstance(send_chunk(run, run.chunk(1), api), NotYet)
    assert isinstance(send_chunk(run, run.chunk(0), api), Submitted)
    held_sandbox.settings.batch_seconds = 0.0
    held_sandbox.end_all()

    run_job(asked, held_sandbox.url)

    assert [row["_status"] for row in read(asked.output)] == ["missing", "succeeded"]
    assert positions_sent(held_sandbox) == [0, 1]


def test_a_batch_without_a_line_is_given_back_if_another_one_bears_our_nonce(
    held_sandbox: Sandbox, api: Api, tmp_path: Path
) -> None:
    asked, run = job_with_a_missing_row(tmp_path, "a", "[[missing]]")
    first, second = lose_answers(run, held_sandbox, api, 2)
    for chunk, wrong in ((0, second), (1, first)):
        intent = latest(run, chunk)
        assert isinstance(intent, Intended)
        assert run.dir.move_on(intent, provisional(intent, wrong))
    held_sandbox.end_all()

    run_job(asked, held_sandbox.url)

    assert [row["_status"] for row in read(asked.output)] == ["succeeded", "missing"]
    assert positions_sent(held_sandbox) == [0, 1]
    assert run.dir.batch_ids() == [first, second]
