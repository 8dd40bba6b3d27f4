"""Trying to lose a row without a word: every way there is to make the numbers lie."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from batchkit_tasks import steps
from batchkit_tasks.errors import BatchkitError, RowsLostError
from batchkit_tasks.parameters import Job
from batchkit_tasks.run_dir import RunDir
from batchkit_tasks.sandbox.server import Sandbox
from batchkit_tasks.summary import RunSummary
from tests.integration.impatience import impatient
from tests.integration.running import job, read, run_job

__all__ = ["impatient"]
pytestmark = pytest.mark.usefixtures("impatient")

ROWS = 30


@pytest.fixture
def asked(tmp_path: Path, sandbox: Sandbox) -> Job:
    """A run that is over; its rows ended in several ways."""
    endings = ["", "", "[[refusal]]", "[[max_tokens]]", "[[missing]]", "[[expired]]"]
    texts = [f"{endings[n % 6]} {n}" for n in range(ROWS - 1)]
    source = tmp_path / "in.parquet"
    pd.DataFrame({"text": [*texts, None]}).to_parquet(source)
    advanced = {
        "rows_per_batch": 9,
        "check_every_seconds": 0.1,
        "retry_on": [],
        "fail_above_percent": 100,
    }
    asked = job(source, tmp_path / "out.parquet", "{text}", advanced=advanced)
    run_job(asked, sandbox.url)
    return asked


def run_of(asked: Job) -> Path:
    """The run directory."""
    (run,) = Path(asked.output).parent.glob("_batchkit/*/*")
    return run


def test_the_numbers_of_a_run_add_up_to_its_rows(asked: Job) -> None:
    kept = RunDir(str(run_of(asked))).summary()
    summary = msgspec.convert(kept, RunSummary)

    rows = read(asked.output)
    found = pd.Series([row["_status"] for row in rows]).value_counts().to_dict()
    assert summary.by_status == found
    assert sum(summary.by_status.values()) == summary.rows == len(rows) == ROWS
    assert summary.succeeded + summary.failed == summary.sent == ROWS - 1
    assert len(read(summary.failed_output)) == ROWS - summary.succeeded
    for status, count in found.items():
        assert f"{count} {status}" in summary.message or status == "succeeded"


@pytest.mark.parametrize(
    "lie",
    [
        {"rows": ROWS + 1},
        {"rows": ROWS - 1},
        {"by_status": {"succeeded": ROWS - 1}},
        {"by_status": {}},
        {"sent": ROWS + 1},
        {"sent": -1},
    ],
)
def test_a_summary_whose_numbers_do_not_add_up_cannot_be_made(
    lie: dict[str, Any],
) -> None:
    truth: dict[str, Any] = {
        "output": "out.parquet",
        "failed_output": None,
        "run": "run",
        "rows": ROWS,
        "sent": ROWS,
        "by_status": {"succeeded": ROWS - 2, "missing": 2},
        "batches": (),
        "rounds": 1,
    }
    assert RunSummary(**truth).rows == ROWS

    with pytest.raises(RowsLostError):
        RunSummary(**truth | lie)
    with pytest.raises((RowsLostError, msgspec.ValidationError)):
        msgspec.convert(truth | lie, RunSummary)


def rewrite(path: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    pq.write_table(change(pq.read_table(path)), path)


def drop_a_row(table: pa.Table) -> pa.Table:
    return table.slice(1)


def drop_all_rows(table: pa.Table) -> pa.Table:
    return table.slice(0, 0)


def double_a_row(table: pa.Table) -> pa.Table:
    return pa.concat_tables([table.slice(0, 1), table])


def move_a_row(table: pa.Table) -> pa.Table:
    positions = table["position"].to_pylist()
    positions[0] = 10_000
    return table.set_column(0, "position", pa.array(positions, pa.int64()))


def forget_a_status(table: pa.Table) -> pa.Table:
    statuses = table["status"].to_pylist()
    statuses[0] = None
    at = table.schema.get_field_index("status")
    return table.set_column(at, "status", pa.array(statuses, pa.string()))


@pytest.mark.parametrize(
    "change", [drop_a_row, drop_all_rows, double_a_row, move_a_row, forget_a_status]
)
def test_a_part_that_lacks_or_doubles_a_row_stops_the_output(
    asked: Job, change: Callable[[pa.Table], pa.Table]
) -> None:
    """The table that is there stays as it is."""
    before = Path(asked.output).read_bytes()
    rewrite(run_of(asked) / "parts" / "00001.parquet", change)

    with pytest.raises(BatchkitError):
        steps.write_output(str(run_of(asked)))

    assert Path(asked.output).read_bytes() == before


def test_a_part_that_is_not_there_is_not_taken_for_rows_without_answers(
    asked: Job,
) -> None:
    (run_of(asked) / "parts" / "00001.parquet").unlink()
    before = Path(asked.output).read_bytes()

    with pytest.raises(RowsLostError, match="neither an answer nor a reason"):
        steps.write_output(str(run_of(asked)))

    assert Path(asked.output).read_bytes() == before


def test_fates_of_fewer_rows_than_the_table_has_stop_the_output(asked: Job) -> None:
    (fates,) = run_of(asked).glob("rows-*.parquet")
    rewrite(fates, drop_a_row)

    with pytest.raises(BatchkitError):
        steps.write_output(str(run_of(asked)))
