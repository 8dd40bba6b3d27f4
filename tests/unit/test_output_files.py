"""The files of an output: whole or not at all, with the failed rows beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fsspec
import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from batchkit_tasks.output.table import failed_rows_url, own_columns, write_table
from batchkit_tasks.parts.joined import Part, Parts
from tests.made_tables import (
    NONCE,
    TEXT,
    TableRows,
    chunk,
    column,
    numbered,
    part,
    planned,
    read,
    write,
)

# ------------------------------------------------------------------- failed rows


def test_failed_rows_lie_beside_the_output(tmp_path: Path):
    rows = {
        1: {"status": "errored", "error": "api_error: no"},
        3: {"status": "refused", "error": "the model declined"},
    }
    made = part(tmp_path, chunk(0, (0, 4)), rows=rows)

    write(tmp_path, 5, [made], fates=planned(5, {4: ("skipped", "sample")}))

    assert read(tmp_path / "out.failed.parquet").to_pylist() == [
        {"n": 1, "_status": "errored", "_error": "api_error: no"},
        {"n": 3, "_status": "refused", "_error": "the model declined"},
        {"n": 4, "_status": "skipped", "_error": "sample"},
    ]


def test_failed_rows_of_an_earlier_time_are_removed_when_none_failed(tmp_path: Path):
    stale = tmp_path / "out.failed.parquet"
    stale.write_bytes(b"stale")

    write(tmp_path, 2, [part(tmp_path, chunk(0, (0, 2)))])

    assert not stale.exists()


def test_failed_rows_are_gathered_into_few_row_groups(tmp_path: Path):
    rows = {p: {"status": "expired", "error": "expired"} for p in range(0, 100, 10)}
    made = part(tmp_path, chunk(0, (0, 100)), rows=rows)

    write(tmp_path, 100, [made], window_rows=10)

    file = pq.ParquetFile(tmp_path / "out.failed.parquet")
    assert (file.metadata.num_rows, file.num_row_groups) == (10, 1)


def test_failed_rows_that_are_fed_in_again_give_the_users_columns(tmp_path: Path):
    rows = {1: {"status": "expired", "error": "expired"}}
    write(tmp_path, 2, [part(tmp_path, chunk(0, (0, 2)), rows=rows)])
    failed: Any = TableRows(read(tmp_path / "out.failed.parquet"))

    write_table(
        rows=failed,
        fates=planned(1),
        parts=Parts([part(tmp_path, chunk(0, (0, 1)))], TEXT.fields),
        to_url=str(tmp_path / "again.parquet"),
    )

    assert own_columns(failed.schema).names == ["n"]
    row = read(tmp_path / "again.parquet").to_pylist()[0]
    assert list(row) == ["n", "response", "_status", "_error", "_meta"]
    assert (row["n"], row["_status"]) == (1, "succeeded")


def test_a_users_own_status_column_is_no_mark_of_ours():
    schema = pa.schema([("n", pa.int64()), ("_status", pa.string())])

    assert own_columns(schema) == schema


@pytest.mark.parametrize(
    ("url", "failed"),
    [
        ("out.parquet", "out.failed.parquet"),
        ("s3://b/a.parquet/out.parquet", "s3://b/a.parquet/out.failed.parquet"),
        ("/x/out.pq", "/x/out.pq.failed.parquet"),
    ],
)
def test_the_table_of_failed_rows_is_named_for_the_output(url: str, failed: str):
    assert failed_rows_url(url) == failed


# ----------------------------------------------------------- whole or not at all


class Interrupts(TableRows):
    """A table whose reading is interrupted at a row."""

    at = 0

    def read(self, start: int, stop: int, columns: Any = None) -> pa.Table:
        if start >= self.at:
            raise KeyboardInterrupt
        return super().read(start, stop, columns)


@pytest.mark.parametrize("at", [0, 2, 4])
def test_an_interrupted_writing_leaves_the_old_tables_whole(tmp_path: Path, at: int):
    rows = {p: {"status": "expired", "error": "expired"} for p in range(3)}
    made = part(tmp_path, chunk(0, (0, 6)), rows=rows)
    write(tmp_path, 6, [made])
    before = {p.name: p.read_bytes() for p in tmp_path.glob("*.parquet")}
    table: Any = Interrupts(numbered(6).table)
    table.at = at

    with pytest.raises(KeyboardInterrupt):
        write_table(
            rows=table,
            fates=planned(6),
            parts=Parts([made], TEXT.fields),
            to_url=f"{tmp_path}/out.parquet",
            window_rows=2,
        )

    assert {p.name: p.read_bytes() for p in tmp_path.glob("*.parquet")} == before
    assert not list(tmp_path.glob(".*.tmp"))


def test_writing_again_gives_the_same_table(tmp_path: Path):
    made = part(tmp_path, chunk(0, (0, 6)), rows={2: {"status": "expired"}})

    write(tmp_path, 6, [made])
    first = (tmp_path / "out.parquet").read_bytes()
    write(tmp_path, 6, [made])

    assert (tmp_path / "out.parquet").read_bytes() == first


def test_everything_may_lie_on_another_filesystem(tmp_path: Path):
    folder = f"memory://{tmp_path.name}"
    rows = {2: {"status": "expired", "error": "expired"}}
    made = part(folder, chunk(0, (0, 4)), rows=rows)

    write(folder, 4, [made], window_rows=3)

    assert column(f"{folder}/out.parquet", "n") == [0, 1, 2, 3]
    assert column(f"{folder}/out.failed.parquet", "n") == [2]

    write(folder, 4, [part(folder, chunk(0, (0, 4)))])

    fs, path = fsspec.core.url_to_fs(folder)
    names = [Path(str(name)).name for name in fs.ls(path, detail=False)]
    assert sorted(names) == ["out.parquet", "parts"]


# ----------------------------------------------------------------- counts, notes


def test_counts_add_up_to_the_rows_and_tell_tokens_and_cost(tmp_path: Path):
    rows = {
        0: {"cost_usd": None},
        1: {"status": "errored", "output_tokens": None, "cost_usd": 0.0},
        2: {"status": "truncated", "cache_read_tokens": 5},
    }
    made = part(tmp_path, chunk(0, (0, 4)), rows=rows)

    counts = write(tmp_path, 5, [made], fates=planned(5, {4: ("skipped", None)}))

    assert counts.by_status == {
        "succeeded": 2,
        "errored": 1,
        "truncated": 1,
        "skipped": 1,
    }
    assert counts.by_status.total() == counts.rows == 5
    assert (counts.sent, counts.succeeded, counts.failed) == (4, 2, 2)
    assert counts.tokens["output_tokens"] == 6
    assert counts.tokens["cache_read_tokens"] == 5
    assert (counts.cost_usd, counts.unpriced) == (0.5, 1)


def test_notes_are_kept_with_the_schema(tmp_path: Path):
    write_table(
        rows=numbered(1),
        fates=planned(1),
        parts=Parts([part(tmp_path, chunk(0, (0, 1)))], TEXT.fields),
        to_url=str(tmp_path / "out.parquet"),
        notes={"model": "claude-haiku-5-5"},
    )

    metadata = read(tmp_path / "out.parquet").schema.metadata
    assert metadata == {b"batchkit.model": b"claude-haiku-5-5"}


def test_long_rows_come_in_smaller_windows(tmp_path: Path):
    long = msgspec.structs.replace(chunk(0, (0, 300)), body_bytes=300 * 1_000_000)
    made = part(tmp_path, chunk(0, (0, 300)))

    write(tmp_path, 300, [Part(long, 1, made.url, "b", NONCE)])

    assert pq.ParquetFile(tmp_path / "out.parquet").num_row_groups == 3
