"""Rows that end in every way the API knows, and what becomes of the run."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from batchkit_tasks.errors import (
    CreditExhaustedError,
    MostRowsInvalidError,
    RunFailedError,
)
from batchkit_tasks.sandbox.server import Sandbox
from tests.integration.running import job, positions_sent, read, right_answer, run_job

ENDINGS = {
    "plain": "succeeded",
    "[[max_tokens]]": "truncated",
    "[[refusal]]": "refused",
    "[[pause_turn]]": "paused",
    "[[errored:invalid_request_error]]": "errored",
    "[[errored:api_error]]": "errored",
    "[[errored:overloaded_error]]": "errored",
    "[[expired]]": "expired",
    "[[canceled]]": "canceled",
    "[[missing]]": "missing",
    "[[unknown_type]]": "errored",
    "[[unknown_stop]]": "succeeded",
}
"""What a prompt orders, and the status that its row must get."""

ONCE = {"attempts": 1, "retry_on": [], "check_every_seconds": 0.1}


@pytest.fixture(autouse=True)
def short_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Missing lines are waited for in seconds, not minutes."""
    monkeypatch.setenv("BATCHKIT_REREAD_SECONDS", "0.05")


def table(folder: Path, texts: list[str]) -> Path:
    """A source with one text per row."""
    path = folder / "in.parquet"
    pd.DataFrame({"text": texts}).to_parquet(path)
    return path


def test_120_rows_of_every_ending_each_get_their_status(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    texts = [f"{ending} {n}" for n in range(10) for ending in ENDINGS]
    source = table(tmp_path, texts)
    above = job(source, tmp_path / "out.parquet", "{text}", advanced=ONCE)

    with pytest.raises(RunFailedError, match="100 of 120 rows sent did not succeed"):
        run_job(above, sandbox.url)

    rows = read(tmp_path / "out.parquet")
    assert [row["text"] for row in rows] == texts
    assert [row["_status"] for row in rows] == [
        status for _ in range(10) for status in ENDINGS.values()
    ]
    for row in rows:
        succeeded = row["_status"] == "succeeded"
        assert (row["_error"] is None) == succeeded
        assert row["_error"] != ""
        if "plain" in row["text"]:
            assert row["response"] == right_answer(row["text"])
        if row["_status"] == "truncated":
            assert row["response"]
    failed = read(tmp_path / "out.failed.parquet")
    assert [row["text"] for row in failed] == [
        row["text"] for row in rows if row["_status"] != "succeeded"
    ]


def test_a_run_below_the_limit_of_failed_rows_completes(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    source = table(tmp_path, ["plain"] * 19 + ["[[refusal]]"])
    below = job(source, tmp_path / "out.parquet", "{text}", advanced=ONCE)

    summary = run_job(below, sandbox.url)

    assert summary.by_status == {"succeeded": 19, "refused": 1}
    assert summary.failed_output == str(tmp_path / "out.failed.parquet")


def test_a_run_in_which_no_row_succeeds_fails_whatever_the_limit(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    source = table(tmp_path, ["[[errored:api_error]]"] * 5)
    advanced = {**ONCE, "fail_above_percent": 100}
    asked = job(source, tmp_path / "out.parquet", "{text}", advanced=advanced)

    with pytest.raises(RunFailedError, match="5 of 5 rows"):
        run_job(asked, sandbox.url)

    assert {row["_status"] for row in read(tmp_path / "out.parquet")} == {"errored"}


def test_rows_that_fail_for_a_passing_reason_are_sent_again_and_no_others(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    passing = ["api_error", "overloaded_error", "rate_limit_error", "timeout_error"]
    texts = [f"[[once:errored:{kind}]]" for kind in passing]
    texts += ["[[once:expired]]", "[[once:canceled]]", "[[once:missing]]", "plain"]
    texts += ["[[errored:invalid_request_error]]", "[[refusal]]"]
    advanced = {"check_every_seconds": 0.1, "fail_above_percent": 50}
    asked = job(
        table(tmp_path, texts), tmp_path / "out.parquet", "{text}", advanced=advanced
    )

    summary = run_job(asked, sandbox.url)

    rows = read(tmp_path / "out.parquet")
    assert [row["_status"] for row in rows] == ["succeeded"] * 8 + [
        "errored",
        "refused",
    ]
    assert [row["_meta"]["attempts"] for row in rows] == [2] * 7 + [1] * 3
    assert summary.rounds == 2
    assert positions_sent(sandbox) == sorted([*range(10), *range(7)])


def test_attempts_are_counted_and_end(sandbox: Sandbox, tmp_path: Path) -> None:
    source = table(tmp_path, ["[[errored:api_error]]", *["plain"] * 30])
    advanced = {"check_every_seconds": 0.1, "attempts": 3}
    asked = job(source, tmp_path / "out.parquet", "{text}", advanced=advanced)

    summary = run_job(asked, sandbox.url)

    assert summary.rounds == 3
    assert positions_sent(sandbox).count(0) == 3
    assert read(tmp_path / "out.parquet")[0]["_meta"]["attempts"] == 3


def test_truncated_rows_are_sent_again_with_twice_the_tokens_if_asked(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    source = table(tmp_path, ["[[once:max_tokens]]", "plain"])
    advanced = {
        "check_every_seconds": 0.1,
        "retry_on": ["truncated"],
        "max_tokens": 100,
    }
    asked = job(source, tmp_path / "out.parquet", "{text}", advanced=advanced)

    run_job(asked, sandbox.url)

    ledger = sandbox.ledger()
    last = ledger.batches()[-1].id
    assert [params["max_tokens"] for params in ledger.params(last).values()] == [200]
    assert {row["_status"] for row in read(tmp_path / "out.parquet")} == {"succeeded"}


def test_used_up_credit_stops_the_run_and_uses_up_no_attempt(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    source = table(tmp_path, ["[[once:credit]]", "[[once:credit]] b", "plain"])
    advanced = {"check_every_seconds": 0.1, "attempts": 1}
    asked = job(source, tmp_path / "out.parquet", "{text}", advanced=advanced)

    with pytest.raises(CreditExhaustedError, match="2 rows were refused"):
        run_job(asked, sandbox.url)
    summary = run_job(asked, sandbox.url)

    assert summary.by_status == {"succeeded": 3}
    assert positions_sent(sandbox) == [0, 0, 1, 1, 2]
    assert {row["_meta"]["attempts"] for row in read(asked.output)} == {1}


def test_a_first_batch_of_invalid_requests_stops_the_rest(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    texts = [f"[[errored:invalid_request_error]] {n}" for n in range(40)]
    source = table(tmp_path, texts)
    advanced = {
        "check_every_seconds": 0.1,
        "rows_per_batch": 10,
        "max_requests_in_flight": 10,
    }
    asked = job(source, tmp_path / "out.parquet", "{text}", advanced=advanced)

    with pytest.raises(MostRowsInvalidError, match="10 of the first 10 rows"):
        run_job(asked, sandbox.url)

    rows = read(tmp_path / "out.parquet")
    assert [row["_status"] for row in rows] == ["errored"] * 10 + ["skipped"] * 30
    assert positions_sent(sandbox) == list(range(10))


def test_rows_with_nulls_or_too_many_bytes_are_kept_and_not_sent(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    path = tmp_path / "in.parquet"
    pd.DataFrame({"text": ["a", None, "b" * 1_200_000, "c"]}).to_parquet(path)
    advanced = {"check_every_seconds": 0.1, "mb_per_batch": 1}
    asked = job(path, tmp_path / "out.parquet", "{text}", advanced=advanced)

    summary = run_job(asked, sandbox.url)

    rows = read(tmp_path / "out.parquet")
    statuses = [row["_status"] for row in rows]
    assert statuses == ["succeeded", "skipped", "oversized", "succeeded"]
    assert "text" in rows[1]["_error"]
    assert "mb_per_batch" in rows[2]["_error"]
    assert summary.sent == 2
    assert positions_sent(sandbox) == [0, 3]


def test_typed_columns_are_filled_and_what_does_not_fit_says_why(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    source = table(tmp_path, ["plain", "[[bad_json]]", "other"])
    answer = {
        "columns": [
            {"name": "mood", "choices": ["good", "bad"]},
            {"name": "score", "type": "integer"},
            {"name": "sure", "type": "boolean"},
        ]
    }
    advanced = {"check_every_seconds": 0.1, "fail_above_percent": 50}
    asked = job(
        source, tmp_path / "out.parquet", "{text}", answer=answer, advanced=advanced
    )

    summary = run_job(asked, sandbox.url)

    rows = read(tmp_path / "out.parquet")
    assert summary.by_status == {"succeeded": 2, "invalid_answer": 1}
    assert rows[0]["mood"] in ("good", "bad")
    assert isinstance(rows[0]["score"], int)
    assert isinstance(rows[0]["sure"], bool)
    assert rows[1]["mood"] is None
    assert "the answer" in rows[1]["_error"]
