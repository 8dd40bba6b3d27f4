"""When a run that has written everything counts as failed."""

from __future__ import annotations

from typing import Any

import pytest

from batchkit_tasks.errors import RunFailedError
from batchkit_tasks.running.verdict import judge
from batchkit_tasks.summary import RunSummary


def summary(by_status: dict[str, int], **more: Any) -> RunSummary:
    """A run that came to this."""
    rows = sum(by_status.values())
    sent = rows - by_status.get("skipped", 0) - by_status.get("oversized", 0)
    facts: dict[str, Any] = {
        "output": "out.parquet",
        "failed_output": None,
        "run": "run",
        "rows": rows,
        "sent": sent,
        "by_status": by_status,
        "batches": (),
        "rounds": 1,
    }
    return RunSummary(**{**facts, **more})


def test_the_limit_itself_is_still_good() -> None:
    judge(summary({"succeeded": 95, "errored": 5}), 5.0)


def test_one_row_above_the_limit_fails_the_run() -> None:
    with pytest.raises(RunFailedError, match=r"6 of 100 rows .* 6 errored"):
        judge(summary({"succeeded": 94, "errored": 6}), 5.0)


def test_no_success_at_all_fails_whatever_the_limit() -> None:
    with pytest.raises(RunFailedError, match="2 of 2"):
        judge(summary({"refused": 2, "skipped": 10}), 100.0)


def test_rows_that_were_never_sent_fail_nothing() -> None:
    judge(summary({"skipped": 3, "oversized": 1}), 0.0)


def test_answers_taken_over_count_as_good_ones() -> None:
    again = summary({"succeeded": 99, "refused": 1}, sent=1, reused=99)

    judge(again, 5.0)
