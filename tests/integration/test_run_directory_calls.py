"""A run directory may be far away: what a run asks of it grows with its batches only."""

from __future__ import annotations

import threading
import time
from collections import Counter
from typing import Any

import fsspec
import pandas as pd
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from batchkit_tasks.sandbox.server import Sandbox
from tests.integration.running import job, run_job, wait_until

CALLS: Counter[str] = Counter()


class Counted(MemoryFileSystem):
    """A filesystem in memory that counts the round trips a store would take."""

    protocol = "counted"

    def cat_file(self, path: str, *args: Any, **kwargs: Any) -> Any:
        CALLS["read"] += 1
        return super().cat_file(path, *args, **kwargs)

    def ls(self, path: str, *args: Any, **kwargs: Any) -> Any:
        CALLS["list"] += 1
        return super().ls(path, *args, **kwargs)


@pytest.fixture
def counted() -> str:
    fsspec.register_implementation("counted", Counted, clobber=True)
    return f"counted://{time.monotonic_ns()}"


def calls(folder: str, batches: int, sandbox: Sandbox) -> Counter[str]:
    """What a run asks for if no batch ends before all are sent."""
    source = f"{folder}/{batches}.parquet"
    pd.DataFrame({"text": [f"row {n}" for n in range(batches)]}).to_parquet(source)
    advanced = {"rows_per_batch": 1, "check_every_seconds": 0.1}
    asked = job(source, f"{folder}/{batches}.out.parquet", "{text}", advanced=advanced)
    before = len(sandbox.ledger().batches())
    CALLS.clear()
    run = threading.Thread(target=run_job, args=(asked, sandbox.url))
    run.start()
    wait_until(
        lambda: len(sandbox.ledger().batches()) == before + batches, "all are sent"
    )
    sandbox.end_all()
    run.join()
    output = pd.read_parquet(f"{folder}/{batches}.out.parquet")
    assert (output["_status"] == "succeeded").sum() == batches
    return CALLS.copy()


def test_calls_to_a_run_directory_grow_with_the_batches(
    held_sandbox: Sandbox, counted: str
) -> None:
    few, many = (calls(counted, batches, held_sandbox) for batches in (10, 80))

    for kind in ("read", "list"):
        assert many[kind] < 1.5 * 8 * few[kind], (kind, few, many)
