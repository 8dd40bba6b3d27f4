"""The same answer is never paid for twice: equal rows, other days, failed rows."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from batchkit_tasks.sandbox.server import Sandbox
from tests.integration.money_support import requests_sent, table
from tests.integration.running import (
    job,
    positions_sent,
    read,
    right_answer,
    run_job,
)


def test_equal_rows_are_sent_once_and_all_get_the_answer(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    # Leaders and followers are far apart, so that they lie in different batches.
    texts = [f"row {n % 700}" for n in range(3_000)]
    source = table(tmp_path / "in.parquet", texts)
    advanced = {"check_every_seconds": 0.1, "rows_per_batch": 90}
    asked = job(source, tmp_path / "out.parquet", "Say {text}", advanced=advanced)

    summary = run_job(asked, sandbox.url)

    rows = read(tmp_path / "out.parquet")
    assert [row["response"] for row in rows] == [
        right_answer(f"Say {t}") for t in texts
    ]
    assert positions_sent(sandbox) == list(range(700))
    assert summary.requests == 700
    assert summary.duplicates == 2_300
    assert summary.sent == 3_000
    assert {row["_meta"]["cost_usd"] for row in rows[700:]} == {0.0}
    total = sum(row["_meta"]["cost_usd"] for row in rows)
    assert total == pytest.approx(summary.cost_usd)


def test_equal_rows_are_sent_each_where_variety_is_wanted(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    source = table(tmp_path / "in.parquet", ["a joke"] * 5)
    advanced = {"check_every_seconds": 0.1, "identical": "each"}
    asked = job(source, tmp_path / "out.parquet", "{text}", advanced=advanced)

    summary = run_job(asked, sandbox.url)

    assert positions_sent(sandbox) == list(range(5))
    assert summary.duplicates == 0
    ids = {row["_meta"]["custom_id"] for row in read(tmp_path / "out.parquet")}
    assert len(ids) == 5


def test_with_variety_each_earlier_answer_serves_one_row_only(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    advanced = {"check_every_seconds": 0.1, "identical": "each"}
    output = tmp_path / "out.parquet"
    first = table(tmp_path / "in.parquet", ["a joke"] * 5)
    run_job(job(first, output, "{text}", advanced=advanced), sandbox.url)

    more = table(tmp_path / "in.parquet", ["a joke"] * 8)
    summary = run_job(job(more, output, "{text}", advanced=advanced), sandbox.url)

    assert (summary.reused, summary.requests) == (5, 3)
    ids = Counter(row["_meta"]["custom_id"] for row in read(output))
    assert len(ids) == 8


def test_equal_rows_of_a_failed_row_fail_with_it_and_are_answered_by_its_next_attempt(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    texts = [
        "[[once:errored:api_error]]",
        "plain",
        "[[once:errored:api_error]]",
        "plain",
    ]
    source = table(tmp_path / "in.parquet", texts)

    summary = run_job(job(source, tmp_path / "out.parquet", "{text}"), sandbox.url)

    rows = read(tmp_path / "out.parquet")
    assert [row["_meta"]["attempts"] for row in rows] == [2, 1, 2, 1]
    assert summary.by_status == {"succeeded": 4}
    assert requests_sent(sandbox) == 3


def test_a_table_that_grew_sends_only_what_is_new_or_changed(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    texts = [f"row {n}" for n in range(2_000)]
    source, output = tmp_path / "in.parquet", tmp_path / "out.parquet"
    run_job(job(table(source, texts), output, "Say {text}"), sandbox.url)
    before = requests_sent(sandbox)
    rng = np.random.default_rng(0)
    tomorrow = [str(text) for text in rng.permutation(texts)]
    tomorrow[10:30] = [f"changed {n}" for n in range(20)]
    tomorrow[500:500] = [f"new {n}" for n in range(50)]

    summary = run_job(job(table(source, tomorrow), output, "Say {text}"), sandbox.url)

    assert requests_sent(sandbox) - before == 70
    assert (summary.requests, summary.reused, summary.sent) == (70, 1_980, 70)
    rows = read(output)
    answers = [right_answer(f"Say {text}") for text in tomorrow]
    assert [row["response"] for row in rows] == answers
    assert all(row["_status"] == "succeeded" for row in rows)
    new = [row for row in rows if row["_meta"]["cost_usd"]]
    assert len(new) == 70
    paid = sum(row["_meta"]["cost_usd"] for row in new)
    assert paid == pytest.approx(summary.cost_usd)


@pytest.mark.parametrize(
    ("first", "second", "pattern"),
    [
        ("out-2026-11-21.parquet", "out-2026-11-22.parquet", "out-{date}.parquet"),
        ("2026-11-21/a.parquet", "2026-11-22/a.parquet", "{date}/a.parquet"),
        ("in-7f.parquet", "in-8a.parquet", "{source}-{run}.parquet"),
    ],
)
def test_yesterdays_answers_serve_today_where_the_output_differs_by_its_placeholders(
    sandbox: Sandbox, tmp_path: Path, first: str, second: str, pattern: str
) -> None:
    source = table(tmp_path / "in.parquet", ["a", "b"])
    whole = str(tmp_path / pattern)
    run_job(job(source, tmp_path / first, "{text}", output_pattern=whole), sandbox.url)

    table(source, ["a", "b", "c"])
    asked = job(source, tmp_path / second, "{text}", output_pattern=whole)
    summary = run_job(asked, sandbox.url)

    assert (summary.requests, summary.reused) == (1, 2)
    answers = [row["response"] for row in read(tmp_path / second)]
    assert answers == [right_answer(text) for text in "abc"]


def test_the_output_itself_serves_where_the_run_directories_are_gone(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    import shutil

    source, output = tmp_path / "in.parquet", tmp_path / "out.parquet"
    run_job(job(table(source, ["a", "b", "b"]), output, "{text}"), sandbox.url)
    shutil.rmtree(tmp_path / "_batchkit")

    asked = job(table(source, ["b", "c", "a"]), output, "{text}")
    summary = run_job(asked, sandbox.url)

    assert (summary.requests, summary.reused) == (1, 2)
    assert [row["response"] for row in read(output)] == [right_answer(t) for t in "bca"]


def test_typed_answers_are_taken_over_with_all_their_columns(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    columns = [
        {"name": "batch_id", "type": "string"},
        {"name": "status", "type": "integer"},
        {"name": "model", "type": "number"},
    ]
    source, output = tmp_path / "in.parquet", tmp_path / "out.parquet"
    answer = {"columns": columns}
    run_job(
        job(table(source, ["a", "b"]), output, "{text}", answer=answer), sandbox.url
    )
    first = read(output)

    asked = job(table(source, ["c", "b", "a"]), output, "{text}", answer=answer)
    summary = run_job(asked, sandbox.url)

    assert summary.reused == 2
    second = read(output)
    for name in ("text", "batch_id", "status", "model"):
        assert [row[name] for row in second[:0:-1]] == [row[name] for row in first]
    kept = [row["_meta"]["batch_id"] for row in second[1:]]
    assert kept == [row["_meta"]["batch_id"] for row in first]


CHANGES: dict[str, dict[str, Any]] = {
    "prompt": {"prompt": "Tell {text}"},
    "model": {"model": "claude-sonnet-5-5"},
    "answer": {"answer": {"columns": [{"name": "x", "type": "string"}]}},
    "max_tokens": {"advanced": {"max_tokens": 99, "check_every_seconds": 0.1}},
    "system prompt": {"advanced": {"system": "Be brief", "check_every_seconds": 0.1}},
    "request fields": {
        "advanced": {"request": '{"top_k": 3}', "check_every_seconds": 0.1}
    },
}
"""What is asked otherwise, by how it is named to the user."""


@pytest.mark.parametrize("what", CHANGES)
def test_another_question_is_sent_again_and_the_log_says_what_changed(
    sandbox: Sandbox, tmp_path: Path, caplog: pytest.LogCaptureFixture, what: str
) -> None:
    sandbox.settings.sampling_parameters = "accepted"
    source = table(tmp_path / "in.parquet", ["a", "b"])
    output = tmp_path / "out.parquet"
    run_job(job(source, output, "Say {text}"), sandbox.url)

    options = {"prompt": "Say {text}", **CHANGES[what]}
    with caplog.at_level("INFO", "batchkit"):
        summary = run_job(job(source, output, **options), sandbox.url)

    assert (summary.requests, summary.reused) == (2, 0)
    assert f"The {what} differs from the run of" in caplog.text


def test_a_renamed_text_column_asks_the_same_question(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    source = table(tmp_path / "in.parquet", ["a", "b"])
    output = tmp_path / "out.parquet"
    run_job(job(source, output, "{text}"), sandbox.url)

    asked = job(source, output, "{text}", answer={"column": "said"})
    summary = run_job(asked, sandbox.url)

    assert summary.reused == 2
    assert [row["said"] for row in read(output)] == [right_answer(t) for t in "ab"]


def test_nothing_is_reused_where_that_is_wanted(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    source = table(tmp_path / "in.parquet", ["a", "b"])
    advanced = {"reuse": "nothing", "check_every_seconds": 0.1}
    asked = job(source, tmp_path / "out.parquet", "{text}", advanced=advanced)
    run_job(asked, sandbox.url)

    summary = run_job(asked, sandbox.url)

    assert (summary.requests, summary.reused) == (2, 0)
    assert requests_sent(sandbox) == 4
