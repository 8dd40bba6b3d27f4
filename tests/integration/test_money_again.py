"""Starting again: failed rows, grown frames, and neighbours that cannot be read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from batchkit_tasks import batch_dataframe
from batchkit_tasks.errors import RunFailedError
from batchkit_tasks.sandbox.server import Sandbox
from tests.integration.money_support import requests_sent, table
from tests.integration.running import FAST, credentials, job, right_answer, run_job


def test_starting_a_run_with_failed_rows_again_sends_those_and_no_others(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    texts = ["[[times:2:errored:api_error]] x", "b", "c"]
    source = table(tmp_path / "in.parquet", texts)
    advanced = {"attempts": 2, "check_every_seconds": 0.1}
    asked = job(source, tmp_path / "out.parquet", "{text}", advanced=advanced)
    with pytest.raises(RunFailedError):
        run_job(asked, sandbox.url)

    summary = run_job(asked, sandbox.url)

    assert (summary.requests, summary.reused) == (1, 2)
    assert summary.by_status == {"succeeded": 3}
    assert requests_sent(sandbox) == 3 + 1 + 1


def test_a_dataframe_that_grew_sends_only_what_is_new(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BATCHKIT_HOME", str(tmp_path))
    options: dict[str, Any] = {
        "credentials": credentials(sandbox.url), "advanced": FAST, "progress": False,
    }  # fmt: skip
    batch_dataframe(pd.DataFrame({"text": ["a", "b"]}), "{text}", **options)

    grown = pd.DataFrame({"text": ["c", "a", "b"]})
    frame = batch_dataframe(grown, "{text}", **options)

    assert requests_sent(sandbox) == 3
    assert list(frame["response"]) == [right_answer(text) for text in "cab"]


def test_unreadable_neighbours_cost_their_answers_but_never_the_run(
    sandbox: Sandbox, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source, output = tmp_path / "in.parquet", tmp_path / "out.parquet"
    run_job(job(table(source, ["a", "b"]), output, "{text}"), sandbox.url)
    (part,) = (tmp_path / "_batchkit").glob("*/*/parts/*.parquet")
    part.write_bytes(b"torn")
    output.unlink()

    with caplog.at_level("INFO", "batchkit"):
        asked = job(table(source, ["a", "b", "c"]), output, "{text}")
        summary = run_job(asked, sandbox.url)

    assert (summary.requests, summary.reused) == (3, 0)
    assert "cannot be taken over" in caplog.text
