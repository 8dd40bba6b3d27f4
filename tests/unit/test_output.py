"""The output table: one row in, one row out, with its answer and what became of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fsspec
import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from batchkit_tasks.answers import answer_format
from batchkit_tasks.errors import RecordUnreadableError, RowsLostError
from batchkit_tasks.output import failed_rows_url, own_columns, write_table
from batchkit_tasks.output_counts import OutputCounts
from batchkit_tasks.parameters import ColumnsAnswer, OutputColumn
from batchkit_tasks.parts import MAX_OPEN_PARTS, Absent, Part, Parts
from tests.made_tables import (
    NONCE,
    TEXT,
    TableRows,
    chunk,
    fates,
    numbered,
    part,
    request_hash,
)


def read(url: str | Path) -> pa.Table:
    fs, path = fsspec.core.url_to_fs(str(url))
    with fs.open(path, "rb") as file:
        return pq.read_table(file)


def column(url: str | Path, name: str) -> list[Any]:
    return read(url)[name].to_pylist()


def meta(url: str | Path) -> list[dict[str, Any]]:
    return column(url, "_meta")


def write(
    folder: str | Path,
    rows: int,
    parts: list[Part],
    *,
    absent: tuple[Absent, ...] = (),
    fates: Any = None,
    window_rows: int | None = None,
) -> OutputCounts:
    return write_table(
        rows=numbered(rows),
        fates=fates or default_fates(rows),
        parts=Parts(parts, TEXT.fields, absent),
        to_url=f"{folder}/out.parquet",
        window_rows=window_rows,
    )


default_fates = fates


# ------------------------------------------------------------------------- shape


def test_columns_are_the_tables_then_the_answers_then_ours(tmp_path: Path):
    write(tmp_path, 3, [part(tmp_path, chunk(0, (0, 3)))])

    table = read(tmp_path / "out.parquet")
    assert table.column_names == ["n", "response", "_status", "_error", "_meta"]
    assert [
        field.name for field in pa.schema(list(table.schema.field("_meta").type))
    ] == [
        "batch_id",
        "custom_id",
        "model",
        "stop_reason",
        "input_tokens",
        "output_tokens",
        "cache_creation_5m_tokens",
        "cache_creation_1h_tokens",
        "cache_read_tokens",
        "cost_usd",
        "attempts",
        "request_hash",
    ]


def test_a_row_says_where_its_answer_comes_from(tmp_path: Path):
    sent = chunk(7, (0, 2), attempt=2, expiries=1)

    write(tmp_path, 2, [part(tmp_path, sent)])

    assert meta(tmp_path / "out.parquet")[1] == {
        "batch_id": "msgbatch_7",
        "custom_id": f"{NONCE}-1",
        "model": "claude-haiku-5-5-20261007",
        "stop_reason": "end_turn",
        "input_tokens": 10,
        "output_tokens": 2,
        "cache_creation_5m_tokens": None,
        "cache_creation_1h_tokens": None,
        "cache_read_tokens": None,
        "cost_usd": 0.25,
        "attempts": 3,
        "request_hash": request_hash(1),
    }


def test_answer_columns_may_be_called_like_columns_of_a_part(tmp_path: Path):
    names = ["status", "model", "position", "error", "raw", "attempts", "batch_id"]
    answer = answer_format(
        ColumnsAnswer(columns=[OutputColumn(name=name) for name in names])
    )
    values = {f"answer:{name}": name.upper() for name in names}
    values |= {name: name.upper() for name in ("attempts", "batch_id")}
    made = part(tmp_path, chunk(0, (0, 1)), answer=answer, rows={0: values})

    write_table(
        rows=numbered(1),
        fates=fates(1),
        parts=Parts([made], answer.fields),
        to_url=str(tmp_path / "out.parquet"),
    )

    row = read(tmp_path / "out.parquet").to_pylist()[0]
    assert [row[name] for name in names] == [name.upper() for name in names]
    assert row["_status"] == "succeeded"
    assert row["_meta"]["batch_id"] == "msgbatch_0"
    assert row["_meta"]["attempts"] == 1


def test_typed_answers_keep_their_types(tmp_path: Path):
    answer = answer_format(
        ColumnsAnswer(
            columns=[
                OutputColumn(name="stars", type="integer"),
                OutputColumn(name="good", type="boolean"),
            ]
        )
    )
    rows = {0: {"stars": 5, "good": True}}
    made = part(tmp_path, chunk(0, (0, 2)), answer=answer, rows=rows)

    write_table(
        rows=numbered(2),
        fates=fates(2),
        parts=Parts([made], answer.fields),
        to_url=str(tmp_path / "out.parquet"),
    )

    table = read(tmp_path / "out.parquet")
    assert table.schema.field("stars").type == pa.int64()
    assert table.select(["stars", "good"]).to_pylist() == [
        {"stars": 5, "good": True},
        {"stars": None, "good": None},
    ]


# ----------------------------------------------------------------- parts and rounds


@pytest.mark.parametrize("window_rows", [1, 3, 4, 100])
def test_parts_come_in_any_order_and_windows_cut_them_anywhere(
    tmp_path: Path, window_rows: int
):
    chunks = [chunk(0, (0, 4)), chunk(1, (4, 5), (8, 10)), chunk(2, (5, 8))]
    parts = [part(tmp_path, each) for each in chunks]

    write(tmp_path, 10, [parts[2], parts[0], parts[1]], window_rows=window_rows)

    answers = [f"answer {i} of round 1" for i in range(10)]
    assert column(tmp_path / "out.parquet", "n") == list(range(10))
    assert column(tmp_path / "out.parquet", "response") == answers


def test_a_later_round_counts_where_a_row_was_sent_again(tmp_path: Path):
    failed = {
        p: {"status": "errored", "error": "api_error: no", "response": None}
        for p in (1, 3)
    }
    first = part(tmp_path, chunk(0, (0, 4)), rows=failed)
    again = chunk(1, (1, 2), (3, 4), attempt=2)
    second = part(tmp_path, again, round=2, rows={3: failed[3]})
    third = part(tmp_path, chunk(2, (3, 4), attempt=3), round=3)

    write(tmp_path, 4, [third, first, second])

    out = tmp_path / "out.parquet"
    assert column(out, "response") == [
        "answer 0 of round 1",
        "answer 1 of round 2",
        "answer 2 of round 1",
        "answer 3 of round 3",
    ]
    assert [row["attempts"] for row in meta(out)] == [1, 2, 1, 3]
    assert column(out, "_error") == [None] * 4
    assert not (tmp_path / "out.failed.parquet").exists()


def test_chunks_of_one_round_that_share_rows_are_refused(tmp_path: Path):
    parts = [part(tmp_path, chunk(0, (0, 3))), part(tmp_path, chunk(1, (2, 4)))]

    with pytest.raises(ValueError, match="share rows"):
        Parts(parts, TEXT.fields)


def test_only_a_few_parts_are_in_memory_at_a_time(tmp_path: Path):
    parts = [part(tmp_path, chunk(i, (2 * i, 2 * i + 2))) for i in range(20)]
    opened = Parts(parts, TEXT.fields)
    at_most = 0

    for start in range(0, 40, 5):
        opened.read(pa.array(range(start, start + 5)).to_numpy())
        at_most = max(at_most, opened.in_memory)

    assert at_most == MAX_OPEN_PARTS


def test_each_part_is_read_once_when_rows_come_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    whole = {"status": "errored", "error": "api_error: no"}
    failed = dict.fromkeys(range(0, 60, 3), whole)
    parts = [
        part(tmp_path, chunk(i, (10 * i, 10 * i + 10)), rows=failed) for i in range(6)
    ]
    again = [chunk(6, *((p, p + 1) for p in range(0, 60, 3)))]
    parts += [part(tmp_path, each, round=2) for each in again]
    reads: list[str] = []
    plain = pq.ParquetFile

    def counted(source: Any) -> Any:
        reads.append("read")
        return plain(source)

    monkeypatch.setattr(pq, "ParquetFile", counted)
    write(tmp_path, 60, parts, window_rows=7)

    assert len(reads) == len(parts)


# ------------------------------------------------------------------- rows without


def test_rows_that_were_never_sent_say_why(tmp_path: Path):
    unsent: Any = {
        0: ("skipped", "column 'text' is null"),
        2: ("oversized", "the request has 300,000,000 bytes"),
        3: ("skipped", None),
    }
    made = part(tmp_path, chunk(0, (1, 2)))

    counts = write(tmp_path, 4, [made], fates=fates(4, unsent))

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
        write(tmp_path, 5, [made], fates=fates(4))


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


# ----------------------------------------------------------- shared and old answers


def test_equal_rows_share_an_answer_that_is_counted_once(tmp_path: Path):
    shared = fates(6)
    same_as = pa.array([None, None, 0, None, 0, 5], pa.int64())
    shared.table = shared.table.append_column("same_as", same_as)
    made = part(tmp_path, chunk(0, (0, 2), (3, 4), (5, 6)))

    counts = write(tmp_path, 6, [made], fates=shared, window_rows=2)

    out = tmp_path / "out.parquet"
    of = [0, 1, 0, 3, 0, 5]
    assert column(out, "response") == [f"answer {i} of round 1" for i in of]
    assert [row["custom_id"] for row in meta(out)] == [f"{NONCE}-{i}" for i in of]
    assert [row["cost_usd"] for row in meta(out)][:3] == [0.25, 0.25, 0.0]
    assert counts.cost_usd == 3 * 0.25
    assert counts.by_status == {"succeeded": 6}


def test_answers_taken_over_keep_the_batch_they_came_from(tmp_path: Path):
    made = part(tmp_path, chunk(0, (0, 2)))
    table = read(made.url)
    for name, values in {
        "batch_id": ["old_1", "old_2"],
        "custom_id": ["a-7", "b-9"],
    }.items():
        table = table.append_column(name, pa.array(values))
    pq.write_table(table, made.url)

    write(tmp_path, 2, [made])

    rows = meta(tmp_path / "out.parquet")
    assert [row["batch_id"] for row in rows] == ["old_1", "old_2"]
    assert [row["custom_id"] for row in rows] == ["a-7", "b-9"]


def test_rows_without_a_batch_have_no_ids(tmp_path: Path):
    made = part(tmp_path, chunk(0, (0, 1)))

    write(tmp_path, 1, [Part(made.chunk, 1, made.url, "", "")])

    row = meta(tmp_path / "out.parquet")[0]
    assert (row["batch_id"], row["custom_id"]) == (None, None)


# -------------------------------------------------------------------- failed rows


def test_failed_rows_lie_beside_the_output(tmp_path: Path):
    rows = {
        1: {"status": "errored", "error": "api_error: no"},
        3: {"status": "refused", "error": "the model declined"},
    }
    made = part(tmp_path, chunk(0, (0, 4)), rows=rows)

    write(tmp_path, 5, [made], fates=fates(5, {4: ("skipped", "sample")}))

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
        fates=fates(1),
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
            fates=fates(6),
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


# ------------------------------------------------------------------- counts, notes


def test_counts_add_up_to_the_rows_and_tell_tokens_and_cost(tmp_path: Path):
    rows = {
        0: {"cost_usd": None},
        1: {"status": "errored", "output_tokens": None, "cost_usd": 0.0},
        2: {"status": "truncated", "cache_read_tokens": 5},
    }
    made = part(tmp_path, chunk(0, (0, 4)), rows=rows)

    counts = write(tmp_path, 5, [made], fates=fates(5, {4: ("skipped", None)}))

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
        fates=fates(1),
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
