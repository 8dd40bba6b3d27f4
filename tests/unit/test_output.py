"""The output table: one row in, one row out, with its answer and what became of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from batchkit_tasks.answers.formats import answer_format
from batchkit_tasks.output.table import write_table
from batchkit_tasks.parameters import ColumnsAnswer, OutputColumn
from batchkit_tasks.parts.joined import MAX_OPEN_PARTS, Part, Parts
from tests.made_tables import (
    NONCE,
    TEXT,
    chunk,
    column,
    meta,
    numbered,
    part,
    planned,
    read,
    request_hash,
    write,
)

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
        fates=planned(1),
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
        fates=planned(2),
        parts=Parts([made], answer.fields),
        to_url=str(tmp_path / "out.parquet"),
    )

    table = read(tmp_path / "out.parquet")
    assert table.schema.field("stars").type == pa.int64()
    assert table.select(["stars", "good"]).to_pylist() == [
        {"stars": 5, "good": True},
        {"stars": None, "good": None},
    ]


# -------------------------------------------------------------- parts and rounds


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

    assert at_most == 1


def test_of_many_rounds_only_some_parts_are_in_memory(tmp_path: Path):
    parts = [part(tmp_path, chunk(0, (0, 20)))]
    for number in range(2, 10):
        again = chunk(number, (number, number + 1), (20 - number, 21 - number))
        parts.append(part(tmp_path, again, round=number))
    opened = Parts(parts, TEXT.fields)

    opened.read(pa.array(range(10)).to_numpy())

    assert opened.in_memory == MAX_OPEN_PARTS


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


# -------------------------------------------------------- shared and old answers


def test_equal_rows_share_an_answer_that_is_counted_once(tmp_path: Path):
    shared = planned(6)
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
