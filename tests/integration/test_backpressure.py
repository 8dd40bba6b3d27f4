"""Too much at once: waves, full queues, bodies that are refused by their size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from batchkit_tasks import steps
from batchkit_tasks.parameters import Job
from batchkit_tasks.run_dir import RunDir
from batchkit_tasks.sandbox.server import Sandbox
from tests.integration.impatience import impatient
from tests.integration.running import credentials, job, positions_sent, read, run_job

__all__ = ["impatient"]
pytestmark = pytest.mark.usefixtures("impatient")


def make_job(folder: Path, rows: int, **advanced: Any) -> Job:
    """A table of so many rows."""
    source = folder / "in.parquet"
    pd.DataFrame({"text": [f"row {n}" for n in range(rows)]}).to_parquet(source)
    options = {"check_every_seconds": 0.1, **advanced}
    return job(source, folder / "out.parquet", "{text}", advanced=options)


def check(asked: Job, sandbox: Sandbox, rows: int) -> None:
    """Every row is answered, and was bought once."""
    assert [row["_status"] for row in read(asked.output)] == ["succeeded"] * rows
    assert positions_sent(sandbox) == list(range(rows))


def watch_queue(sandbox: Sandbox, seconds: float) -> list[int]:
    """Note how many requests are at the API each time a batch is created."""
    seen: list[int] = []

    def note(number: int, requests: int) -> float:
        seen.append(sandbox.store.queued_requests() + requests)
        return seconds

    sandbox.settings.batch_seconds = note
    return seen


def test_submission_goes_in_waves_under_the_ceiling(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    queued = watch_queue(sandbox, 0.2)
    asked = make_job(tmp_path, 60, rows_per_batch=10, max_requests_in_flight=25)

    run_job(asked, sandbox.url)

    check(asked, sandbox, 60)
    assert max(queued) <= 25
    assert len(queued) >= 6


def test_a_ceiling_below_the_size_of_a_batch_sends_one_at_a_time(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    queued = watch_queue(sandbox, 0.1)
    asked = make_job(tmp_path, 20, rows_per_batch=8, max_requests_in_flight=3)

    run_job(asked, sandbox.url)

    check(asked, sandbox, 20)
    assert max(queued) <= 8


def test_a_full_queue_holds_all_chunks_until_there_is_room(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One chunk is turned away and the others do not even upload their bodies."""
    monkeypatch.setenv("BATCHKIT_HELD_IN_PROCESS_SECONDS", "0")
    monkeypatch.setenv("BATCHKIT_WHEN_BUSY_SECONDS", "0.2")
    queued = watch_queue(sandbox, 0.3)
    sandbox.settings.queue_limit = 12
    asked = make_job(tmp_path, 60, rows_per_batch=10)

    run_job(asked, sandbox.url)

    check(asked, sandbox, 60)
    assert max(queued) <= 12
    creates = sandbox.ledger().calls["create"]
    batches = len(sandbox.ledger().batches())
    assert creates <= 6 * batches


@pytest.mark.parametrize("kind", ["rate_limited", "rate_limited_until"])
def test_a_429_that_says_how_long_is_waited_out(
    sandbox: Sandbox, tmp_path: Path, kind: str
) -> None:
    asked = make_job(tmp_path, 5)
    sandbox.fault("create", kind, retry_after=1)

    run_job(asked, sandbox.url)

    check(asked, sandbox, 5)


def test_a_long_wait_is_handed_back_to_the_caller(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    """Who can give its process back does so; the chunk stays unsent."""
    asked = make_job(tmp_path, 5)
    run = steps.stage_input(asked)
    steps.plan_chunks(run)
    sandbox.fault("create", "rate_limited", retry_after=3600)

    sent = steps.submit_chunk(run, 0, credentials(sandbox.url))

    assert sent.batch_id is None
    assert sent.busy
    assert "429" in sent.why
    run_job(asked, sandbox.url)
    check(asked, sandbox, 5)


@pytest.mark.parametrize("kind", ["too_large_html", "too_large_json"])
def test_a_body_that_is_refused_by_its_size_is_halved(
    sandbox: Sandbox, tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    asked = make_job(tmp_path, 20)
    sandbox.fault("create", kind, times=2)

    with caplog.at_level("INFO", "batchkit"):
        run_job(asked, sandbox.url)

    check(asked, sandbox, 20)
    assert len(sandbox.ledger().batches()) == 3
    said = [
        record.message.partition(" of 3 is at Anthropic") for record in caplog.records
    ]
    names = {name for name, sent, _ in said if sent}
    assert names in ({"Batch 1aa", "Batch 1ab", "Batch 1b"},
                     {"Batch 1a", "Batch 1ba", "Batch 1bb"})  # fmt: skip


@pytest.mark.parametrize("form", ["html", "json"])
def test_halves_get_smaller_until_they_fit_and_a_row_that_never_fits_is_oversized(
    sandbox: Sandbox, tmp_path: Path, form: Any
) -> None:
    sandbox.settings.max_body_bytes = 1500
    sandbox.settings.too_large = form
    source = tmp_path / "in.parquet"
    texts = [f"row {n}" for n in range(40)]
    texts[17] = "x" * 2000
    pd.DataFrame({"text": texts}).to_parquet(source)
    advanced = {"check_every_seconds": 0.1}
    asked = job(source, tmp_path / "out.parquet", "{text}", advanced=advanced)

    summary = run_job(asked, sandbox.url)

    assert summary.by_status == {"succeeded": 39, "oversized": 1}
    assert read(asked.output)[17]["_status"] == "oversized"
    assert "413" in read(asked.output)[17]["_error"]
    assert positions_sent(sandbox) == [n for n in range(40) if n != 17]


def test_halves_differ_in_size_from_all_other_batches(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    asked = make_job(tmp_path, 100, rows_per_batch=40)
    sandbox.fault("create", "too_large_html", times=1)

    run_job(asked, sandbox.url)

    check(asked, sandbox, 100)
    (run,) = tmp_path.glob("_batchkit/*/*")
    counts = [c.requests for r in RunDir(str(run)).rounds() for c in r.chunks]
    assert len(set(counts)) == len(counts)


def test_a_line_too_slow_for_a_body_gets_smaller_ones(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "in.parquet"
    pd.DataFrame({"text": [f"{n}" * 2_000_000 for n in range(8)]}).to_parquet(source)
    asked = job(source, tmp_path / "out.parquet", "{text}")
    sandbox.settings.upload_bytes_per_second = 8_000_000
    monkeypatch.setenv("BATCHKIT_ANSWER_TO_CREATE_SECONDS", "20")
    monkeypatch.setattr("batchkit_tasks.submission.UPLOAD_BASE", _QUICK)
    monkeypatch.setattr("batchkit_tasks.submission.UPLOAD_BYTES_PER_SECOND", 1e12)

    run_job(asked, sandbox.url)

    check(asked, sandbox, 8)
    assert len(sandbox.ledger().batches()) > 1


_QUICK = pd.Timedelta(seconds=0.7).to_pytimedelta()
