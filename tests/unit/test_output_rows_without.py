"""Rows without an answer say why; a row without a reason stops the writing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from batchkit_tasks.errors import RecordUnreadableError, RowsLostError
from batchkit_tasks.parts.joined import Absent
from tests.made_tables import (
    chunk,
    column,
    meta,
    numbered,
    part,
    planned,
    request_hash,
    write,
)


def test_rows_that_were_never_sent_say_why(tmp_path: Path):
    unsent: Any = {
        0: ("skipped", "column 'text' is null"),
        2: ("oversized", "the request has 300,000,000 bytes"),
        3: ("skipped", None),
    }
    made = part(tmp_path, chunk(0, (1, 2)))

    counts = write(tmp_path, 4, [made], fates=planned(4, unsent))

    out = tmp_path / "out.parquet"
    assert column(out, "_status") == ["skipped", "succeeded", "oversized", "skipped"]
    assert column(out, "_error") == [
        "column 'text' is null",
        None,
        "the request has 300,000,000 bytes",
        None,
    ]
    assert column(out, "response") == [None, "answer 1 of round 1", None, None]
    assert [row["attempts"] for row in meta(out)] == [0, 1, 0, 0]
    assert meta(out)[2]["request_hash"] == request_hash(2)
    assert meta(out)[2]["custom_id"] is None
    assert (counts.rows, counts.sent, counts.succeeded, counts.failed) == (4, 1, 1, 0)


def test_rows_of_a_chunk_that_was_not_sent_get_its_reason(tmp_path: Path):
    made = part(tmp_path, chunk(0, (0, 2)))
    absent = Absent(chunk(1, (2, 4)), "skipped", "the run was canceled")

    write(tmp_path, 4, [made], absent=(absent,))

    out = tmp_path / "out.parquet"
    assert column(out, "_status") == ["succeeded", "succeeded", "skipped", "skipped"]
    assert column(out, "_error")[2:] == ["the run was canceled"] * 2


def test_an_earlier_answer_stays_where_the_next_round_was_not_sent(tmp_path: Path):
    rows = {1: {"status": "truncated", "error": "stopped at max_tokens"}}
    made = part(tmp_path, chunk(0, (0, 2)), rows=rows)
    absent = Absent(chunk(1, (1, 2)), "skipped", "the run was canceled")

    write(tmp_path, 2, [made], absent=(absent,))

    out = tmp_path / "out.parquet"
    assert column(out, "_status") == ["succeeded", "truncated"]
    assert column(out, "response")[1] == "answer 1 of round 1"
    assert column(out, "_error")[1] == "stopped at max_tokens"


def test_an_empty_error_becomes_null(tmp_path: Path):
    made = part(
        tmp_path, chunk(0, (0, 1)), rows={0: {"status": "expired", "error": ""}}
    )

    write(tmp_path, 1, [made])

    assert column(tmp_path / "out.parquet", "_error") == [None]


def test_a_lost_row_stops_the_writing_and_leaves_what_was_there(tmp_path: Path):
    out, failed = tmp_path / "out.parquet", tmp_path / "out.failed.parquet"
    out.write_bytes(b"old")
    failed.write_bytes(b"old failed")
    made = part(tmp_path, chunk(0, (0, 5)), rows={0: {"status": "expired"}})

    with pytest.raises(RowsLostError, match=r"2 rows \(numbers 5, 6, …\)"):
        write(tmp_path, 7, [made], window_rows=5)

    assert out.read_bytes() == b"old"
    assert failed.read_bytes() == b"old failed"
    assert len(list(tmp_path.iterdir())) == 3


def test_a_row_that_its_part_lacks_is_lost(tmp_path: Path):
    made = part(tmp_path, chunk(0, (0, 5)), without=[2, 4])

    with pytest.raises(RowsLostError) as caught:
        write(tmp_path, 5, [made])

    assert (caught.value.rows, caught.value.first) == (2, (2, 4))


def test_a_table_of_another_length_than_planned_is_refused(tmp_path: Path):
    made = part(tmp_path, chunk(0, (0, 5)))

    with pytest.raises(RowsLostError):
        write(tmp_path, 5, [made], fates=planned(4))


def test_a_torn_part_is_named_and_nothing_is_written(tmp_path: Path):
    made = part(tmp_path, chunk(0, (0, 5)))
    Path(made.url).write_bytes(Path(made.url).read_bytes()[:-9])

    with pytest.raises(RecordUnreadableError, match=r"00000\.parquet"):
        write(tmp_path, 5, [made])

    assert not (tmp_path / "out.parquet").exists()


def test_a_part_that_vanished_is_named(tmp_path: Path):
    made = part(tmp_path, chunk(0, (0, 5)))
    Path(made.url).unlink()

    with pytest.raises(RecordUnreadableError, match="not there any more"):
        write(tmp_path, 5, [made])


def test_a_table_that_is_no_part_is_named(tmp_path: Path):
    made = part(tmp_path, chunk(0, (0, 5)))
    pq.write_table(numbered(5).table, made.url)

    with pytest.raises(RecordUnreadableError, match="lacks"):
        write(tmp_path, 5, [made])
