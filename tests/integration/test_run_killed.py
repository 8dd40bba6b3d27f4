"""Runs that are killed without warning, and started again."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from batchkit_tasks.sandbox.server import Sandbox
from tests.integration.running import (
    job,
    kill,
    positions_sent,
    read,
    right_answer,
    run_job,
    start_process,
    wait_until,
)

ROWS = 3_000
ADVANCED = {"rows_per_batch": 1_200, "check_every_seconds": 0.1}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A table of 3,000 rows: three batches."""
    path = tmp_path / "in.parquet"
    pd.DataFrame({"text": [f"row {n}" for n in range(ROWS)]}).to_parquet(path)
    return path


def check(sandbox: Sandbox, output: Path) -> None:
    """Every row once, with its right answer, and every row bought once."""
    rows = read(output)
    assert [row["text"] for row in rows] == [f"row {n}" for n in range(ROWS)]
    assert [row["response"] for row in rows] == [
        right_answer(f"Say row {n}") for n in range(ROWS)
    ]
    assert positions_sent(sandbox) == list(range(ROWS))


def test_a_run_killed_while_it_waits_goes_on_and_sends_nothing_twice(
    held_sandbox: Sandbox, source: Path, tmp_path: Path
) -> None:
    asked = job(source, tmp_path / "out.parquet", "Say {text}", advanced=ADVANCED)
    process = start_process(asked, held_sandbox.url)
    wait_until(
        lambda: len(held_sandbox.ledger().batches()) == 3, "three batches are sent"
    )
    wait_until(
        lambda: (
            len(list(tmp_path.rglob("chunks/*-1.json"))) == 3
            and b"intended" not in b"".join(_states(tmp_path))
        ),
        "all ids are recorded",
    )

    kill(process)
    held_sandbox.end_all()
    run_job(asked, held_sandbox.url)

    check(held_sandbox, tmp_path / "out.parquet")


def test_a_run_killed_while_it_collects_goes_on_and_loses_nothing(
    held_sandbox: Sandbox, source: Path, tmp_path: Path
) -> None:
    held_sandbox.settings.results_bytes_per_second = 100_000
    asked = job(source, tmp_path / "out.parquet", "Say {text}", advanced=ADVANCED)
    process = start_process(asked, held_sandbox.url)
    wait_until(
        lambda: len(held_sandbox.ledger().batches()) == 3, "three batches are sent"
    )
    held_sandbox.end_all()
    wait_until(lambda: held_sandbox.ledger().calls.get("results"), "results are read")

    kill(process)
    held_sandbox.settings.results_bytes_per_second = None
    assert not (tmp_path / "out.parquet").exists()
    run_job(asked, held_sandbox.url)

    check(held_sandbox, tmp_path / "out.parquet")


def _states(folder: Path) -> list[bytes]:
    return [path.read_bytes()[:30] for path in folder.rglob("chunks/*-1.json")]
