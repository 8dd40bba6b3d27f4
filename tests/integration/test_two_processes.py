"""Two processes at work on one run: each may act while the other is busy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from batchkit_tasks import steps
from batchkit_tasks.errors import MostRowsInvalidError
from batchkit_tasks.hosts import InProcess
from batchkit_tasks.pipeline import run_to_end
from batchkit_tasks.sandbox.server import Sandbox
from batchkit_tasks.summary import RunSummary
from tests.integration.impatience import impatient
from tests.integration.running import credentials, job, positions_sent, read

__all__ = ["impatient"]
pytestmark = pytest.mark.usefixtures("impatient")

INVALID = "[[errored:invalid_request_error]]"


class WithAnother:
    """The steps, with another process that acts once, right after one of them."""

    def __init__(self, act: Callable[[str], object], after: str) -> None:
        self._act, self._after, self._has_acted = act, after, False

    def __getattr__(self, name: str) -> Any:
        step = getattr(steps, name)
        if name != self._after:
            return step

        def followed(run: str, *args: Any, **kwargs: Any) -> Any:
            done = step(run, *args, **kwargs)
            if not self._has_acted:
                self._has_acted = True
                self._act(run)
            return done

        return followed


def run_beside(
    act: Callable[[str], object],
    first: str,
    folder: Path,
    sandbox: Sandbox,
    *,
    after: str = "collect_batch",
) -> RunSummary:
    """Run 18 rows, of which the last 8 wait until the first 10 are collected."""
    texts = [f"{first} {n}" for n in range(10)] + [f"row {n}" for n in range(10, 18)]
    pd.DataFrame({"text": texts}).to_parquet(folder / "in.parquet")
    advanced = {
        "check_every_seconds": 0.1,
        "rows_per_batch": 10,
        "max_requests_in_flight": 10,
        "fail_above_percent": 90,
        "attempts": 1,
    }
    asked = job(
        folder / "in.parquet", folder / "out.parquet", "{text}", advanced=advanced
    )
    host = InProcess(steps=WithAnother(act, after))
    return run_to_end(steps.stage_input(asked), credentials(sandbox.url), host)


def test_a_chunk_that_another_process_has_split_meanwhile_is_no_fault(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    def send_in_halves(run: str) -> None:
        sandbox.fault("create", "too_large_json")
        sent = steps.submit_chunk(run, 1, credentials(sandbox.url))
        assert sent.batch_id is None

    summary = run_beside(send_in_halves, "row", tmp_path, sandbox)

    assert summary.by_status == {"succeeded": 18}
    assert positions_sent(sandbox) == list(range(18))


def test_what_another_process_has_sent_meanwhile_is_collected_before_a_run_stops(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    def send(run: str) -> None:
        sandbox.settings.batch_seconds = 0.5
        assert steps.submit_chunk(run, 1, credentials(sandbox.url)).batch_id

    summary = run_beside(send, INVALID, tmp_path, sandbox)

    assert summary.by_status == {"errored": 10, "succeeded": 8}


def test_without_another_process_such_a_run_stops_at_once(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    with pytest.raises(MostRowsInvalidError):
        run_beside(lambda _: None, INVALID, tmp_path, sandbox)

    statuses = [row["_status"] for row in read(tmp_path / "out.parquet")]
    assert statuses == ["errored"] * 10 + ["skipped"] * 8


def test_what_another_process_does_during_a_look_is_seen_after_it(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    def go_on(run: str) -> None:
        key = credentials(sandbox.url)
        for chunk in (0, 1):
            assert steps.submit_chunk(run, chunk, key).batch_id
            while not steps.poll_batches(run, key).ended:
                pass
            assert steps.collect_batch(run, chunk, key)

    summary = run_beside(go_on, "row", tmp_path, sandbox, after="poll_batches")

    assert summary.by_status == {"succeeded": 18}
    assert positions_sent(sandbox) == list(range(18))
