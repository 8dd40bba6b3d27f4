"""The table that the steps of a run share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from batchkit_tasks import steps
from batchkit_tasks.engine import Run
from batchkit_tasks.plans.reading import (
    borrowed_rows,
    give_back,
    read_chunk,
    window_rows,
)
from batchkit_tasks.records import Chunk
from tests.integration.running import job


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run over 5,000 rows that lie in one row group, as pandas writes them."""
    table = pd.DataFrame({"text": [f"row {i} " + "x" * 900 for i in range(5_000)]})
    table.to_parquet(tmp_path / "in.parquet")
    asked = job(tmp_path / "in.parquet", tmp_path / "out.parquet", "Say: {text}")
    return Run(steps.stage_input(asked))


def texts(run: Run, start: int, stop: int) -> list[str]:
    chunk = Chunk(0, ((start, stop),), stop - start, 1_000 * (stop - start))
    positions = np.arange(start, stop, dtype=np.int64)
    windows = read_chunk(run, chunk, positions, ("text",))
    return [str(text)[:8] for _, table in windows for text in table["text"].to_pylist()]


def test_chunks_are_read_in_any_order(run: Run):
    for start in (3_000, 0, 4_000, 1_000, 4_000):
        found = texts(run, start, start + 1_000)

        assert found == [f"row {i} xxx"[:8] for i in range(start, start + 1_000)]
    give_back(run)


def test_a_borrower_that_fails_leaves_the_table_to_the_next(run: Run):
    with pytest.raises(OSError, match="disk full"), borrowed_rows(run):
        raise OSError("disk full")

    assert texts(run, 0, 1) == ["row 0 xx"]
    give_back(run)


def test_a_table_that_was_given_back_is_opened_again(run: Run):
    assert texts(run, 10, 11) == ["row 10 x"]
    give_back(run)
    give_back(run)

    assert texts(run, 4_999, 5_000) == ["row 4999"]
    give_back(run)


def test_windows_hold_about_a_megabyte_and_one_row_at_least():
    assert window_rows(100) == 2_000
    assert window_rows(5_000) == 209
    assert window_rows(50_000_000) == 1
    assert window_rows(0) == 2_000
