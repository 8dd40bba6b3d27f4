"""What happens between the steps of a sending: others act, and answers are late."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pandas as pd
import pytest
from msgspec.structs import replace

from batchkit_tasks import steps
from batchkit_tasks.api import Api
from batchkit_tasks.credentials import AnthropicCredentials
from batchkit_tasks.engine import Run
from batchkit_tasks.errors import (
    ChunkUncertainError,
    RunFailedError,
    RunStoppedError,
)
from batchkit_tasks.parameters import Job
from batchkit_tasks.records import Intended, Submitted, Unsent
from batchkit_tasks.running import settling
from batchkit_tasks.sandbox.server import Sandbox
from batchkit_tasks.steps.reconciling import NotYet
from batchkit_tasks.steps.sending import Split, send_chunk
from tests.integration.impatience import impatient
from tests.integration.reconciling_support import provisional, run
from tests.integration.running import (
    credentials,
    job,
    positions_sent,
    read,
    run_job,
    wait_until,
)

__all__ = ["impatient", "run"]
pytestmark = pytest.mark.usefixtures("impatient")


@pytest.fixture
def api(sandbox: Sandbox) -> Iterator[Api]:
    """The API as our key sees it."""
    with Api(credentials(sandbox.url)) as made:
        yield made


@pytest.fixture
def asked(tmp_path: Path) -> Job:
    """Eight rows of two megabytes, in one batch."""
    source = tmp_path / "in.parquet"
    pd.DataFrame({"text": [f"{n}" * 2_000_000 for n in range(8)]}).to_parquet(source)
    advanced = {"check_every_seconds": 0.1}
    return job(source, tmp_path / "out.parquet", "{text}", advanced=advanced)


def intent_of_first(run: Run) -> Intended:
    """The intent of the first sending."""
    record = run.dir.record(0, 1)
    assert isinstance(record, Intended)
    return record


def test_a_run_canceled_in_the_moment_of_a_claim_sends_nothing(
    sandbox: Sandbox, api: Api, run: Run
) -> None:
    """Whoever canceled it saw no claim, and will not look again."""
    canceled: list[list[str]] = []

    def cancel(event: str, arguments: tuple[Any, ...]) -> None:
        is_claim = event == "os.link" and f"{run.url}/chunks/" in str(arguments[1])
        if is_claim and not canceled:
            canceled.append([])
            key = credentials(sandbox.url)
            canceled.append(settling.stop(run.url, key, by="a person"))

    sys.addaudithook(cancel)
    with pytest.raises(RunStoppedError):
        send_chunk(run, run.chunk(0), api)

    assert canceled == [[], []]
    assert sandbox.ledger().batches() == []
    assert not settling.has_open_ends(run.url)


def test_a_slow_upload_that_was_given_up_is_not_cut_in_halves(
    sandbox: Sandbox, api: Api, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that was frozen wakes up after another one has sent its chunk."""
    second = timedelta(seconds=1)
    monkeypatch.setattr("batchkit_tasks.submission.UPLOAD_BASE", second)
    monkeypatch.setattr("batchkit_tasks.submission.UPLOAD_BYTES_PER_SECOND", 1e12)
    monkeypatch.setenv("BATCHKIT_ANSWER_TO_CREATE_SECONDS", "20")
    sandbox.settings.upload_bytes_per_second = 4_000_000
    with ThreadPoolExecutor() as pool:
        frozen = pool.submit(send_chunk, run, run.chunk(0), api)
        wait_until(lambda: run.dir.record(0, 1), "it has claimed its chunk")
        intent, now = intent_of_first(run), datetime.now(UTC)
        assert run.dir.move_on(intent, Unsent(intent=intent, why="gone", at=now))
        again = replace(intent, sending=2, nonce="f" * 16)
        assert run.dir.claim(again)
        late = frozen.result()

    assert isinstance(late, NotYet)
    assert "sent this chunk meanwhile" in late.why
    assert [chunk.number for chunk in run.rounds()[0].chunks] == [0]
    assert run.dir.latest_record(0) == (2, again)


def test_a_chunk_that_is_sent_as_halves_is_claimed_by_nobody(
    sandbox: Sandbox, api: Api, run: Run
) -> None:
    """Not even by a process that saw it unsent before it was split."""
    sandbox.fault("create", "too_large_json")
    assert isinstance(send_chunk(run, run.chunk(0), api), Split)
    unsent = run.dir.record(0, 1)
    assert isinstance(unsent, Unsent)

    assert not run.dir.claim(replace(unsent.intent, sending=2, nonce="f" * 16))


def test_a_create_that_the_api_still_works_on_is_waited_for(
    sandbox: Sandbox, api: Api, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its client is gone, its body is not: it may be accepted any time."""
    monkeypatch.setenv("BATCHKIT_ANSWER_TO_CREATE_SECONDS", "0.5")
    monkeypatch.setenv("BATCHKIT_PROPAGATION_GRACE_SECONDS", "0")
    sandbox.fault("create", "slow", seconds=3)
    assert isinstance(send_chunk(run, run.chunk(0), api), NotYet)
    monkeypatch.setenv("BATCHKIT_ANSWER_TO_CREATE_SECONDS", "60")

    waiting = send_chunk(run, run.chunk(0), api)

    assert isinstance(waiting, NotYet)
    assert "may still appear" in waiting.why
    wait_until(sandbox.ledger().batches, "it is accepted after all")
    found = send_chunk(run, run.chunk(0), api)
    assert isinstance(found, Submitted)
    assert positions_sent(sandbox) == list(range(8))


def test_a_lost_answer_that_is_looked_for_after_29_days_is_not_paid_again(
    sandbox: Sandbox, api: Api, run: Run, asked: Job
) -> None:
    sandbox.fault("create", "accepted_then_closed")
    assert isinstance(send_chunk(run, run.chunk(0), api), NotYet)
    sandbox.advance(days=30)

    with pytest.raises(RunFailedError, match="8 missing"):
        run_job(asked, sandbox.url)

    assert "29 days" in read(asked.output)[0]["_error"]
    assert positions_sent(sandbox) == list(range(8))


def test_a_conclusion_drawn_from_what_has_changed_since_is_not_written(
    sandbox: Sandbox, api: Api, run: Run
) -> None:
    """Of two processes that settle one sending, the second one looks again."""
    sandbox.fault("create", "accepted_then_closed")
    assert isinstance(send_chunk(run, run.chunk(0), api), NotYet)
    seen_by_both = intent_of_first(run)
    found = send_chunk(run, run.chunk(0), api)
    assert isinstance(found, Submitted)

    given_up = Unsent(intent=seen_by_both, why="not seen", at=datetime.now(UTC))
    assert not run.dir.move_on(seen_by_both, given_up)

    assert run.dir.record(0, 1) == found


def test_a_chunk_is_claimed_again_only_after_its_last_sending_made_nothing(
    sandbox: Sandbox, api: Api, run: Run
) -> None:
    """Also by a process that saw it unsent, before its batch was heard of."""
    sandbox.fault("create", "accepted_then_closed")
    assert isinstance(send_chunk(run, run.chunk(0), api), NotYet)
    again = replace(intent_of_first(run), sending=2, nonce="f" * 16)
    assert not run.dir.claim(again)

    assert isinstance(send_chunk(run, run.chunk(0), api), Submitted)

    assert not run.dir.claim(again)


def test_an_empty_list_proves_nothing_to_a_key_that_did_not_send(
    sandbox: Sandbox, api: Api, run: Run
) -> None:
    """It may be another workspace's, where nobody says which one it is."""
    sandbox.accept_key("test-key", workspace="one")
    sandbox.accept_key("other-key", workspace="two")
    sandbox.fault("create", "accepted_then_closed")
    assert isinstance(send_chunk(run, run.chunk(0), api), NotYet)
    intent, long_ago = intent_of_first(run), datetime.now(UTC) - timedelta(seconds=100)
    assert run.dir.move_on(intent, replace(intent, workspace="", deadline=long_ago))
    other = {"api_key": "other-key", "base_url": sandbox.url}

    with (
        Api(AnthropicCredentials.model_validate(other)) as stranger,
        pytest.raises(ChunkUncertainError, match="the key is another now"),
    ):
        send_chunk(run, run.chunk(0), stranger)

    assert isinstance(send_chunk(run, run.chunk(0), api), Submitted)
    assert positions_sent(sandbox) == list(range(8))


@pytest.mark.parametrize("whose", ["ours", "theirs"])
def test_a_run_that_died_with_a_claim_by_size_holds_up_nobody(
    sandbox: Sandbox, api: Api, run: Run, tmp_path: Path, whose: str
) -> None:
    """Once the batch has ended, its lines tell whose it is."""
    if whose == "theirs":
        sandbox.fault("create", "server_error")
        theirs = sandbox.create_foreign(8)
    else:
        sandbox.fault("create", "accepted_then_closed")
        theirs = ""
    assert isinstance(send_chunk(run, run.chunk(0), api), NotYet)
    batch = theirs or sandbox.ledger().batches()[0].id
    claimed = provisional(intent_of_first(run), batch)
    dead = tmp_path / "_batchkit/dead.parquet/dead/chunks/00000-1.json"
    dead.parent.mkdir(parents=True)
    dead.write_bytes(msgspec.json.encode(claimed))
    sandbox.end_all()

    assert steps.submit_chunk(run.url, 0, credentials(sandbox.url)).batch_id

    assert positions_sent(sandbox) == list(range(8))


def test_who_plans_a_round_second_works_on_that_of_the_first(run: Run) -> None:
    """Two cuts of one table would send rows twice."""
    first = run.dir.rounds()[0]
    other = replace(first, chunks=(), token="other")

    assert run.dir.create_round(other) == first

    assert Run(run.url).rounds() == [first]


def test_a_row_that_is_too_large_takes_nobodys_batch(
    sandbox: Sandbox, api: Api, tmp_path: Path
) -> None:
    """Its process was killed after that was written for its result."""
    pd.DataFrame({"text": ["a"]}).to_parquet(tmp_path / "in.parquet")
    url = steps.stage_input(job(tmp_path / "in.parquet", tmp_path / "one.pq", "{text}"))
    steps.plan_chunks(url)
    run = Run(url)
    sandbox.fault("create", "too_large_json")
    assert isinstance(send_chunk(run, run.chunk(0), api), Split)
    unsent = run.dir.record(0, 1)
    assert isinstance(unsent, Unsent)
    assert run.dir.move_on(unsent, replace(unsent.intent, over=True))
    sandbox.create_foreign(1)

    assert isinstance(send_chunk(run, run.chunk(0), api), Split)

    assert run.dir.batch_ids() == []
    assert not settling.has_open_ends(url)
