"""Creates whose outcome nobody knows: whose batch is whose, and when it is given up."""

from __future__ import annotations

import signal
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Thread, main_thread

import pytest

from batchkit_tasks import steps
from batchkit_tasks.api import Api
from batchkit_tasks.engine import Run
from batchkit_tasks.errors import ChunkUncertainError
from batchkit_tasks.parameters import Job
from batchkit_tasks.records import Intended, Submitted, Unsent
from batchkit_tasks.sandbox.server import Sandbox
from batchkit_tasks.steps.owner import current_owner, is_gone
from batchkit_tasks.steps.reconciling import NotYet, settle
from batchkit_tasks.steps.sending import send_chunk
from tests.integration.impatience import impatient
from tests.integration.reconciling_support import (
    api,
    asked,
    finish,
    latest,
    lose_answers,
    rewrite,
    run,
)
from tests.integration.running import (
    credentials,
    job,
    wait_until,
)

__all__ = ["api", "asked", "impatient", "run"]
pytestmark = pytest.mark.usefixtures("impatient")

ELSEWHERE = "another-machine:boot:pid:[1]:42:17"
"""A process that cannot be looked at from here."""


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
