"""Creates whose outcome nobody knows: whose batch is whose, and when it is given up."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Thread, main_thread
from typing import Any

import pandas as pd
import pytest
from msgspec.structs import replace

from batchkit_tasks import steps
from batchkit_tasks.api import Api
from batchkit_tasks.engine import Run
from batchkit_tasks.errors import ChunkUncertainError
from batchkit_tasks.owner import current_owner, is_gone
from batchkit_tasks.parameters import Job
from batchkit_tasks.reconciling import NotYet, settle
from batchkit_tasks.records import ChunkRecord, Intended, Submitted, Unsent
from batchkit_tasks.sandbox.server import Sandbox
from batchkit_tasks.sending import send_chunk
from tests.integration.impatience import impatient
from tests.integration.running import (
    credentials,
    job,
    positions_sent,
    read,
    run_job,
    wait_until,
)

__all__ = ["impatient"]
pytestmark = pytest.mark.usefixtures("impatient")

ELSEWHERE = "another-machine:boot:pid:[1]:42:17"
"""A process that cannot be looked at from here."""


@pytest.fixture
def api(held_sandbox: Sandbox) -> Iterator[Api]:
    """The API as our key sees it."""
    held_sandbox.settings.retry_after = None
    with Api(credentials(held_sandbox.url)) as made:
        yield made


@pytest.fixture
def asked(tmp_path: Path) -> Job:
    """Three rows, each in a batch of its own: no count tells them apart."""
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


def test_a_claim_of_another_machine_is_respected_until_its_answer_is_overdue(
    held_sandbox: Sandbox, api: Api, run: Run, asked: Job
) -> None:
    held_sandbox.fault("create", "server_error")
    send_chunk(run, run.chunk(0), api)
    deadline = datetime.now(UTC) + timedelta(seconds=30)
    rewrite(run, 0, claimed_by=ELSEWHERE, over=False, deadline=deadline)
    waiting = send_chunk(run, run.chunk(0), api)
    assert isinstance(waiting, NotYet)
    assert "another process may be sending" in waiting.why

    past = datetime.now(UTC) - timedelta(seconds=1)  # the answer may take 0.8, + 0.6
    rewrite(run, 0, deadline=past)
    assert isinstance(send_chunk(run, run.chunk(0), api), NotYet)
    rewrite(run, 0, deadline=past - timedelta(seconds=1))
    assert isinstance(send_chunk(run, run.chunk(0), api), Submitted)

    finish(asked, held_sandbox)


def test_an_answer_that_comes_after_its_chunk_was_sent_again_is_canceled(
    held_sandbox: Sandbox, api: Api, run: Run, asked: Job
) -> None:
    """A process that was frozen for minutes wakes up and hears that it bought."""
    held_sandbox.fault("create", "accepted_then_slow", seconds=0.5)
    with ThreadPoolExecutor() as pool:
        frozen = pool.submit(send_chunk, run, run.chunk(0), api)
        wait_until(lambda: held_sandbox.ledger().batches(), "the batch is created")
        intent = latest(run, 0)
        assert isinstance(intent, Intended)
        given_up = Unsent(intent=intent, why="not in the list", at=datetime.now(UTC))
        assert run.dir.move_on(intent, given_up)
        with Api(credentials(held_sandbox.url)) as other:
            assert isinstance(send_chunk(run, run.chunk(0), other), Submitted)
        late = frozen.result()

    assert isinstance(late, NotYet)
    assert "late" in late.why
    ledger = held_sandbox.ledger()
    canceled = [b.id for b in ledger.batches() if b.cancel_initiated_at is not None]
    assert len(canceled) == 1
    assert set(run.dir.batch_ids()) == {batch.id for batch in ledger.batches()}


def test_half_a_list_is_no_reason_to_send_again(
    held_sandbox: Sandbox, api: Api, run: Run
) -> None:
    """A server that ignores `after_id` shows the newest thousand, again and again."""
    lose_answers(run, held_sandbox, api, 1)
    for _ in range(1001):
        held_sandbox.create_foreign(2)
    held_sandbox.settings.ignores_after_id = True
    rewrite(run, 0, deadline=datetime.now(UTC) - timedelta(seconds=100))

    waiting = send_chunk(run, run.chunk(0), api)

    assert isinstance(waiting, NotYet)
    assert "cannot be read" in waiting.why
    held_sandbox.settings.ignores_after_id = False
    assert isinstance(send_chunk(run, run.chunk(0), api), Submitted)


def test_what_cannot_be_settled_for_longer_than_the_run_waits_is_asked_of_a_person(
    held_sandbox: Sandbox, api: Api, run: Run
) -> None:
    lose_answers(run, held_sandbox, api, 1)
    for _ in range(1001):
        held_sandbox.create_foreign(2)
    long_ago = datetime.now(UTC) - timedelta(hours=27)
    intent = rewrite(run, 0, intended_at=long_ago, deadline=long_ago)
    held_sandbox.settings.ignores_after_id = True

    with pytest.raises(ChunkUncertainError, match=r"delete .*00000-1\.json first"):
        settle(run, intent, api)


def test_nobody_is_asked_because_of_an_outage(
    held_sandbox: Sandbox, api: Api, run: Run, asked: Job
) -> None:
    """A run that goes on after a week meets one: it waits, as for every other."""
    lose_answers(run, held_sandbox, api, 1)
    intent = latest(run, 0)
    assert isinstance(intent, Intended)
    last_week = intent.intended_at - timedelta(days=7)
    intent = rewrite(run, 0, intended_at=last_week)
    held_sandbox.fault("list", "server_error")

    waiting = settle(run, intent, api)

    assert isinstance(waiting, NotYet)
    assert "cannot be read" in waiting.why
    rewrite(run, 0, intended_at=datetime.now(UTC) - timedelta(seconds=5))
    finish(asked, held_sandbox)


@pytest.mark.parametrize("hours", [-30, -6, 6, 30])
def test_a_server_whose_clock_is_hours_off_changes_nothing(
    held_sandbox: Sandbox, api: Api, run: Run, asked: Job, hours: int
) -> None:
    held_sandbox.advance(hours=hours)
    held_sandbox.create_foreign(1, seconds_ago=3600)
    batches = lose_answers(run, held_sandbox, api, 2)
    api.preflight()

    found = [send_chunk(run, run.chunk(number), api) for number in (0, 1)]

    assert {r.batch_id for r in found if isinstance(r, Submitted)} == set(batches)
    finish(asked, held_sandbox)


def test_batches_that_somebody_creates_later_are_no_candidates(
    held_sandbox: Sandbox, api: Api, run: Run
) -> None:
    """A run that goes on the next day does not wait for other people's batches."""
    held_sandbox.fault("create", "server_error")
    send_chunk(run, run.chunk(0), api)
    yesterday = datetime.now(UTC) - timedelta(hours=20)
    rewrite(run, 0, intended_at=yesterday, deadline=yesterday)
    for hour in range(20):
        held_sandbox.create_foreign(1, seconds_ago=hour * 3600)

    assert isinstance(send_chunk(run, run.chunk(0), api), Submitted)

    assert latest(run, 0) is not None
    assert run.dir.latest_record(0)[0] == 2


def test_the_batches_of_other_runs_in_the_same_folder_are_known(
    held_sandbox: Sandbox, api: Api, run: Run, asked: Job, tmp_path: Path
) -> None:
    """Also while one of their records is torn: that is their own process's trouble."""
    other = job(asked.source, tmp_path / "other.parquet", "Say {text}")
    theirs = Run(steps.stage_input(other))
    steps.plan_chunks(theirs.url)
    sent = send_chunk(theirs, theirs.rounds()[0].chunks[0], api)
    assert isinstance(sent, Submitted)
    torn = tmp_path / "_batchkit/other.parquet/torn/chunks/00000-1.json"
    torn.parent.mkdir(parents=True)
    torn.write_bytes(b'{"state":"subm')
    same_size = job(asked.source, tmp_path / "third.parquet", "{text}")
    third = Run(steps.stage_input(same_size))
    steps.plan_chunks(third.url)
    held_sandbox.fault("create", "server_error")

    first = third.rounds()[0].chunks[0]
    waiting = send_chunk(third, first, api)
    again = send_chunk(third, first, api)

    assert isinstance(waiting, NotYet)
    assert isinstance(again, NotYet)
    assert "may still appear" in again.why


def test_canceling_never_touches_what_may_be_somebody_elses(
    held_sandbox: Sandbox, api: Api, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BATCHKIT_HELD_IN_PROCESS_SECONDS", "2")
    ours = send_chunk(run, run.chunk(0), api)
    assert isinstance(ours, Submitted)
    held_sandbox.fault("create", "server_error")
    send_chunk(run, run.chunk(1), api)
    foreign = held_sandbox.create_foreign(1)

    canceling = steps.cancel_batches(run.url, credentials(held_sandbox.url))

    assert canceling == [ours.batch_id]
    assert held_sandbox.ledger().batch(foreign).cancel_initiated_at is None


def test_ctrl_c_in_the_middle_of_a_create_leaves_a_claim_that_can_be_settled(
    held_sandbox: Sandbox, api: Api, run: Run, asked: Job
) -> None:
    """At once: nobody waits for a deadline of minutes."""
    held_sandbox.fault("create", "accepted_then_hang")

    def interrupt() -> None:
        wait_until(lambda: held_sandbox.ledger().batches(), "the batch is created")
        signal.pthread_kill(main_thread().ident or 0, signal.SIGINT)

    thread = Thread(target=interrupt)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BATCHKIT_ANSWER_TO_CREATE_SECONDS", "60")
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            send_chunk(run, run.chunk(0), api)
    thread.join()

    record = latest(run, 0)
    assert isinstance(record, Intended)
    assert record.over
    assert isinstance(send_chunk(run, run.chunk(0), api), Submitted)
    finish(asked, held_sandbox)


def test_a_batch_deleted_while_the_list_is_read_is_no_end_of_the_list(
    held_sandbox: Sandbox, api: Api, run: Run
) -> None:
    lose_answers(run, held_sandbox, api, 1)
    for _ in range(1001):
        held_sandbox.create_foreign(2)
    held_sandbox.fault("list", "bad_request", after=2)  # the second page

    waiting = send_chunk(run, run.chunk(0), api)

    assert isinstance(waiting, NotYet)
    assert "deleted while the list was read" in waiting.why
    assert isinstance(send_chunk(run, run.chunk(0), api), Submitted)


def test_an_owner_is_gone_only_if_that_is_certain() -> None:
    ours = current_owner()
    before, _, started = ours.rpartition(":")

    assert not is_gone(ours)
    assert is_gone(f"{before}:{int(started) - 1}")
    assert not is_gone(ELSEWHERE)
    assert not is_gone("")
    assert not is_gone("host:unknown:1:2")
