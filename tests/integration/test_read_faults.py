"""Faults while a run waits: its batches are neither canceled nor sent again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from batchkit_tasks import steps
from batchkit_tasks.errors import KeyRefusedError, PollingError, WrongWorkspaceError
from batchkit_tasks.parameters import Job
from batchkit_tasks.run_dir import RunDir
from batchkit_tasks.sandbox.server import Sandbox
from tests.integration.impatience import impatient
from tests.integration.running import credentials, job, positions_sent, read, run_job

__all__ = ["impatient"]
pytestmark = pytest.mark.usefixtures("impatient")

ROWS = 12

PASSING: list[tuple[str, dict[str, Any]]] = [
    ("not_found", {}),
    ("timeout", {}),
    ("conflict", {}),
    ("rate_limited", {"retry_after": 0}),
    ("rate_limited_bare", {}),
    ("server_error", {}),
    ("bad_gateway", {}),
    ("unavailable", {}),
    ("gateway_timeout", {}),
    ("overloaded", {}),
    ("status", {"status": 200, "page": True}),
    ("status", {"status": 302, "page": True}),
    ("reset_before_body", {}),
    ("accepted_then_closed", {}),
    ("half_answer", {}),
]


@pytest.fixture
def asked(tmp_path: Path, sandbox: Sandbox) -> Job:
    """12 rows in three batches, which are looked at in the list."""
    sandbox.settings.batch_seconds = 0.3
    return small_job(tmp_path, rows_per_batch=5)


def small_job(folder: Path, **advanced: Any) -> Job:
    """A table of 12 rows."""
    source = folder / "in.parquet"
    pd.DataFrame({"text": [f"row {n}" for n in range(ROWS)]}).to_parquet(source)
    options = {"check_every_seconds": 0.1, **advanced}
    return job(source, folder / "out.parquet", "{text}", advanced=options)


def check(asked: Job, sandbox: Sandbox) -> None:
    """All rows are there; nothing was canceled, and nothing sent twice."""
    assert {row["_status"] for row in read(asked.output)} == {"succeeded"}
    assert positions_sent(sandbox) == list(range(ROWS))
    assert "cancel" not in sandbox.ledger().calls


@pytest.mark.parametrize("endpoint", ["retrieve", "list"])
@pytest.mark.parametrize(("kind", "options"), PASSING)
def test_passing_faults_while_polling_are_waited_through(
    sandbox: Sandbox, asked: Job, endpoint: str, kind: str, options: dict[str, Any]
) -> None:
    after = 3 if endpoint == "list" else 0  # the first three go before the creates
    sandbox.fault(endpoint, kind, times=3, after=after, **options)

    run_job(asked, sandbox.url)

    check(asked, sandbox)


def test_a_poll_that_is_never_answered_is_made_again(
    sandbox: Sandbox, asked: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BATCHKIT_ANSWER_TO_READ_SECONDS", "0.3")
    sandbox.fault("list", "hang", times=2, after=3)

    run_job(asked, sandbox.url)

    check(asked, sandbox)


@pytest.mark.parametrize("status", [401, 403])
def test_a_key_that_is_revoked_while_waiting_stops_the_run_and_another_goes_on(
    sandbox: Sandbox, asked: Job, status: int
) -> None:
    sandbox.settings.batch_seconds = None
    run = steps.stage_input(asked)
    for chunk in steps.plan_chunks(run):
        steps.submit_chunk(run, chunk, credentials(sandbox.url))
    sandbox.refuse_key("test-key", status)

    with pytest.raises(KeyRefusedError, match="No batch was created or canceled"):
        run_job(asked, sandbox.url)
    sandbox.accept_key("test-key")
    sandbox.end_all()
    run_job(asked, sandbox.url)

    check(asked, sandbox)


def test_a_key_of_another_workspace_is_refused_before_it_can_pay_again(
    sandbox: Sandbox, asked: Job
) -> None:
    """Its empty list says nothing of what was sent."""
    sandbox.accept_key("test-key", workspace="one")
    sandbox.fault("create", "accepted_then_closed", times=3)
    run = steps.stage_input(asked)
    steps.plan_chunks(run)
    first = RunDir(run).rounds()[0].chunks[0].number
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BATCHKIT_HELD_IN_PROCESS_SECONDS", "0")
        steps.submit_chunk(run, first, credentials(sandbox.url))
    sandbox.accept_key("test-key", workspace="two")

    with pytest.raises(WrongWorkspaceError, match="wrkspc_one, where it cannot see"):
        run_job(asked, sandbox.url)
    sandbox.faults.clear()
    sandbox.accept_key("test-key", workspace="one")
    run_job(asked, sandbox.url)

    check(asked, sandbox)


def test_a_batch_that_stays_unknown_stops_the_run_even_if_each_look_is_a_new_process(
    sandbox: Sandbox, asked: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is remembered is in the run directory."""
    monkeypatch.setenv("BATCHKIT_UNKNOWN_BATCH_SECONDS", "0")
    sandbox.settings.batch_seconds = None
    run = steps.stage_input(asked)
    for chunk in steps.plan_chunks(run):
        steps.submit_chunk(run, chunk, credentials(sandbox.url))
    key = credentials(sandbox.url)
    gone = sandbox.ledger().batches()[0].id
    sandbox.store.get(gone).deleted = True

    steps.poll_batches(run, key)
    steps.poll_batches(run, key)
    with pytest.raises(PollingError, match=f"{gone} cannot be read.*deleted"):
        steps.poll_batches(run, key)

    sandbox.store.get(gone).deleted = False
    sandbox.end_all()
    run_job(asked, sandbox.url)
    check(asked, sandbox)


def test_misses_that_heal_are_forgotten(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three misses in a row are needed, not three in all."""
    monkeypatch.setenv("BATCHKIT_UNKNOWN_BATCH_SECONDS", "0")
    sandbox.settings.batch_seconds = None
    asked = small_job(tmp_path)
    run = steps.stage_input(asked)
    key = credentials(sandbox.url)
    for chunk in steps.plan_chunks(run):
        steps.submit_chunk(run, chunk, key)

    for _ in range(3):
        sandbox.fault("retrieve", "not_found", times=2)
        for _ in range(3):
            steps.poll_batches(run, key)

    sandbox.end_all()
    run_job(asked, sandbox.url)
    check(asked, sandbox)


def test_a_miss_is_forgotten_once_the_batch_is_collected(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    """Of two processes one may see a 404 while the other one collects."""
    asked = small_job(tmp_path)
    run = steps.stage_input(asked)
    key = credentials(sandbox.url)
    (chunk,) = steps.plan_chunks(run)
    steps.submit_chunk(run, chunk, key)
    sandbox.end_all()
    sandbox.fault("retrieve", "not_found")
    steps.poll_batches(run, key)
    assert RunDir(run).missed()

    assert steps.collect_batch(run, chunk, key)

    assert not RunDir(run).missed()


def test_unknown_processing_statuses_count_as_running(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    body = (
        '{"id":"msgbatch_1","type":"message_batch","processing_status":"hibernating",'
        '"created_at":"2026-11-22T12:00:00Z"}'
    )
    asked = small_job(tmp_path)
    run = steps.stage_input(asked)
    key = credentials(sandbox.url)
    for chunk in steps.plan_chunks(run):
        steps.submit_chunk(run, chunk, key)
    sandbox.fault("retrieve", "status", status=200, page=True, message=body)

    look = steps.poll_batches(run, key)

    assert look.ended == ()
    assert look.running == 1
