"""Results that come cut, late, doubled, foreign, compressed, or not any more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from batchkit_tasks.errors import ResultsUnreadableError, RunFailedError
from batchkit_tasks.parameters import Job
from batchkit_tasks.sandbox.server import Sandbox
from tests.integration.impatience import impatient
from tests.integration.running import job, positions_sent, read, right_answer, run_job

__all__ = ["impatient"]
pytestmark = pytest.mark.usefixtures("impatient")

ROWS = 40

HEALING: list[tuple[str, dict[str, Any]]] = [
    ("not_found", {"times": 3}),
    ("server_error", {"times": 3}),
    ("overloaded", {}),
    ("rate_limited", {"retry_after": 0}),
    ("reset_before_body", {}),
    ("accepted_then_closed", {}),
    ("status", {"status": 200, "page": True}),
    ("cut_mid_line", {"share": 0.4}),
    ("cut_at_line_end", {"share": 0.4}),
    ("cut_at_line_end", {"share": 0.0}),
    ("reset_half_way", {"share": 0.4}),
    ("closed_half_way", {"share": 0.4}),
    ("broken_line", {}),
    ("foreign_line", {}),
]
HARMLESS: list[tuple[str, dict[str, Any]]] = [
    ("blank_lines", {}),
    ("no_final_newline", {}),
    ("gzip", {}),
    ("gzip_members", {}),
    ("gzip_members", {"members": 9}),
    ("small_chunks", {"chunk_bytes": 97}),
    ("split_utf8", {}),
    ("foreign_line", {}),
]


@pytest.fixture
def asked(tmp_path: Path) -> Job:
    """40 rows in one batch."""
    return make_job(tmp_path, [f"row {n} ä漢🙂" for n in range(ROWS)])


def make_job(folder: Path, texts: list[str], **advanced: Any) -> Job:
    """A table of texts."""
    source = folder / "in.parquet"
    pd.DataFrame({"text": texts}).to_parquet(source)
    options = {"check_every_seconds": 0.1, **advanced}
    return job(source, folder / "out.parquet", "{text}", advanced=options)


def check(asked: Job, sandbox: Sandbox) -> None:
    """Every row has its answer, and was sent once."""
    rows = read(asked.output)
    assert [r["response"] for r in rows] == [right_answer(r["text"]) for r in rows]
    assert positions_sent(sandbox) == list(range(ROWS))


@pytest.mark.parametrize(("kind", "options"), HEALING)
def test_results_that_come_short_are_read_again_until_they_are_whole(
    sandbox: Sandbox, asked: Job, kind: str, options: dict[str, Any]
) -> None:
    order: dict[str, Any] = {"times": 2, **options}
    sandbox.fault("results", kind, **order)

    run_job(asked, sandbox.url)

    check(asked, sandbox)


@pytest.mark.parametrize(("kind", "options"), HARMLESS)
def test_results_in_any_shape_are_read_at_once(
    sandbox: Sandbox, asked: Job, kind: str, options: dict[str, Any]
) -> None:
    sandbox.fault("results", kind, times=-1, **options)

    run_job(asked, sandbox.url)

    check(asked, sandbox)
    assert sandbox.ledger().calls["results"] == 1


def test_a_stream_that_stalls_is_cut_and_read_again(
    sandbox: Sandbox, asked: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BATCHKIT_ANSWER_TO_READ_SECONDS", "0.3")
    sandbox.fault("results", "hang")

    run_job(asked, sandbox.url)

    check(asked, sandbox)


def test_results_that_are_always_torn_stop_the_run_and_nothing_is_sent_again(
    sandbox: Sandbox, asked: Job
) -> None:
    sandbox.fault("results", "reset_half_way", times=-1)

    with pytest.raises(ResultsUnreadableError, match="start the run again"):
        run_job(asked, sandbox.url)
    sandbox.faults.clear()
    run_job(asked, sandbox.url)

    check(asked, sandbox)


def test_readings_that_are_cut_at_different_places_add_up(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    """A line that never comes in one reading comes in another."""
    asked = make_job(tmp_path, ["[[duplicate]] a", *(f"row {n}" for n in range(9))])
    for share in (0.2, 0.9, 0.5):
        sandbox.fault("results", "cut_mid_line", share=share)

    run_job(asked, sandbox.url)

    assert {row["_status"] for row in read(asked.output)} == {"succeeded"}
    assert positions_sent(sandbox) == list(range(10))


def test_a_row_without_a_line_is_missing_and_sent_again_within_its_attempts(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    texts = ["[[missing]] for ever", "[[once:missing]]", *(f"{n}" for n in range(38))]
    asked = make_job(tmp_path, texts, attempts=2)

    summary = run_job(asked, sandbox.url)

    assert summary.by_status == {"succeeded": 39, "missing": 1}
    assert "1 missing" in summary.message
    rows = read(asked.output)
    assert rows[0]["_status"] == "missing"
    assert rows[0]["_error"]
    assert positions_sent(sandbox) == sorted([0, 0, 1, 1, *range(2, 40)])


def test_foreign_and_duplicate_lines_change_nothing(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    texts = [f"[[foreign]] {n}" for n in range(30)] + ["[[duplicate]] x"] * 5
    asked = make_job(tmp_path, [f"{text} {n}" for n, text in enumerate(texts)])

    run_job(asked, sandbox.url)

    rows = read(asked.output)
    assert [r["response"] for r in rows] == [right_answer(r["text"]) for r in rows]
    assert positions_sent(sandbox) == list(range(35))


def test_a_batch_whose_only_line_is_foreign_is_still_ours_if_the_api_said_so(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    """It must not be let go, and asked for, for ever."""
    asked = make_job(tmp_path, ["[[missing]]"], attempts=1)
    sandbox.fault("results", "foreign_line", times=-1)

    with pytest.raises(RunFailedError, match="1 missing"):
        run_job(asked, sandbox.url)

    assert positions_sent(sandbox) == [0]


def test_a_line_of_more_than_a_megabyte_is_read(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    asked = make_job(tmp_path, ["[[long:1200000]]", "short"])

    run_job(asked, sandbox.url)

    assert len(read(asked.output)[0]["response"]) == 1_200_000


def test_the_key_goes_to_no_other_host_than_the_one_it_was_given_for(
    sandbox: Sandbox, asked: Job
) -> None:
    with Sandbox() as elsewhere:
        sandbox.settings.results_url_base = elsewhere.url
        headers = {"location": f"{elsewhere.url}/v1/messages/batches/x/results"}
        sandbox.fault("results", "status", status=302, headers=headers, times=2)
        sandbox.fault("retrieve", "status", status=307, headers=headers, times=2)

        run_job(asked, sandbox.url)

        assert elsewhere.ledger().calls == {}
    check(asked, sandbox)


@pytest.mark.parametrize("url", ["null", "kept"])
def test_archived_results_say_so_at_once_and_are_not_paid_again(
    sandbox: Sandbox, asked: Job, url: Any
) -> None:
    sandbox.settings.archived_results_url = url
    sandbox.settings.batch_seconds = lambda number, requests: sandbox.advance(days=30)

    with pytest.raises(RunFailedError, match=f"{ROWS} missing"):
        run_job(asked, sandbox.url)

    rows = read(asked.output)
    assert {row["_status"] for row in rows} == {"missing"}
    assert "gone" in rows[0]["_error"]
    assert "29 days" in rows[0]["_error"]
    assert positions_sent(sandbox) == list(range(ROWS))
    assert "results" not in sandbox.ledger().calls
