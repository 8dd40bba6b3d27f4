"""What pandas wrote, pandas reads back: index, dtypes and labels of the input stay."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from batchkit_tasks.answers.formats import AnswerFormat, answer_format
from batchkit_tasks.output.table import write_table
from batchkit_tasks.parameters import ColumnsAnswer, OutputColumn
from batchkit_tasks.parts.joined import Parts
from batchkit_tasks.records import SourceFile
from batchkit_tasks.tables.sources import Rows
from tests.made_tables import TEXT, chunk, part, planned

NEW = ["response", "_status", "_error", "_meta"]


def sent_and_back(
    folder: Path,
    frame: pd.DataFrame,
    answer: AnswerFormat = TEXT,
    rows: Any = None,
    row_group_size: int = 4,
) -> pd.DataFrame:
    """Write a frame, run it through the output, and read the output with pandas."""
    source = folder / "in.parquet"
    frame.to_parquet(source, row_group_size=row_group_size)
    made = part(folder, chunk(0, (0, len(frame))), answer=answer, rows=rows)
    write_table(
        rows=Rows([SourceFile(str(source), 0, "", -1)]),
        fates=planned(len(frame)),
        parts=Parts([made], answer.fields),
        to_url=str(folder / "out.parquet"),
        window_rows=3,
    )
    return pd.read_parquet(folder / "out.parquet")


DTYPES: dict[str, Any] = {
    "text": ["a", "", "ü 🙂", None, "e", "f", "g"],
    "number": [1, 2, 3, 4, 5, 6, 7],
    "small": np.array([1, 2, 3, 4, 5, 6, 7], dtype="uint8"),
    "nullable": pd.array([1, None, 3, None, 5, 6, 7], dtype="Int64"),
    "nullable_bool": pd.array([True, None, False, None] + [True] * 3, dtype="boolean"),
    "float32": np.array([0.1, np.nan, 2.5, 1, 1, 1, 1], dtype="float32"),
    "flag": [True, False, True, False, True, False, True],
    "category": pd.Categorical(
        ["b", "a", None, "b", "c", "c", "a"], categories=["never", "c", "a", "b"]
    ),
    "ordered": pd.Categorical(
        ["low", "high"] * 3 + ["low"], categories=["low", "mid", "high"], ordered=True
    ),
    "zoned": pd.date_range("2026-03-28", periods=7, freq="12h", tz="Europe/Berlin"),
    "naive_ns": pd.to_datetime(["2026-01-01 00:00:00.123456789"] * 7).as_unit("ns"),
    "naive_s": pd.to_datetime(["2026-01-01"] * 6 + ["NaT"]),
    "duration": pd.to_timedelta(["1s", "2s", "3s", "4s", "5s", "6s", "NaT"]),
    "date": [dt.date(2026, 1, day) for day in range(1, 8)],
    "time": [dt.time(1, 2, second) for second in range(7)],
    "decimal": [Decimal("1.10"), None] + [Decimal("-3.00")] * 5,
    "binary": [b"\x00\xff", b"", None, b"d", b"e", b"f", b"g"],
    "list": [[1, 2], [], None, [4], [5], [6], [7]],
    "struct": [{"a": 1, "b": "x"}, {"a": None, "b": "y"}] * 3 + [{"a": 2, "b": None}],
    "period": pd.period_range("2026-01", periods=7, freq="M"),
    "arrow": pd.array([1, 2, 3, 4, None, 6, 7], dtype="int32[pyarrow]"),
}


@pytest.mark.parametrize("name", DTYPES)
def test_every_dtype_comes_back_as_it_would_without_us(tmp_path: Path, name: str):
    frame = pd.DataFrame({name: DTYPES[name]})

    back = sent_and_back(tmp_path, frame)

    assert list(back.columns) == [name, *NEW]
    without_us = pd.read_parquet(tmp_path / "in.parquet")
    pd.testing.assert_frame_equal(back[[name]], without_us)
    assert str(back[name].dtype) == str(frame[name].dtype)


@pytest.mark.parametrize("name", ["category", "ordered"])
@pytest.mark.parametrize("row_group_size", [2, 7])
def test_categories_keep_their_order_and_the_unused_ones(
    tmp_path: Path, name: str, row_group_size: int
):
    frame = pd.DataFrame({name: DTYPES[name]})

    back = sent_and_back(tmp_path, frame, row_group_size=row_group_size)

    pd.testing.assert_frame_equal(back[[name]], frame)


INDEXES: dict[str, Any] = {
    "range": pd.RangeIndex(7),
    "range with a step": pd.RangeIndex(10, 24, 2, name="k"),
    "named texts": pd.Index(list("abcdefg"), name="key"),
    "unnamed texts": pd.Index(list("abcdefg")),
    "duplicates": pd.Index([1, 1, 2, 2, 2, 3, 1], name="n"),
    "zoned": pd.date_range("2026-01-01", periods=7, tz="UTC", name="when"),
    "two levels": pd.MultiIndex.from_tuples(
        [("a", 1), ("a", 2), ("b", 1), ("b", 1), ("c", 1), ("c", 2), ("c", 3)],
        names=["letter", None],
    ),
    "categories": pd.CategoricalIndex(list("abcabca"), name="c"),
}


@pytest.mark.parametrize("name", INDEXES)
def test_the_index_comes_back(tmp_path: Path, name: str):
    frame = pd.DataFrame({"text": list("tuvwxyz")}, index=INDEXES[name])

    back = sent_and_back(tmp_path, frame)

    assert list(back.columns) == ["text", *NEW]
    pd.testing.assert_frame_equal(back[["text"]], frame, check_freq=False)


def test_attributes_and_the_name_of_the_columns_come_back(tmp_path: Path):
    frame = pd.DataFrame({"text": list("ab")})
    frame.attrs["source"] = "survey"
    frame.columns.name = "question"

    back = sent_and_back(tmp_path, frame)

    assert back.attrs == {"source": "survey"}
    assert back.columns.name == "question"


@pytest.mark.parametrize("labels", [[0, 1], [("a", "x"), ("a", "y")]])
def test_labels_that_were_no_texts_become_texts(tmp_path: Path, labels: list[Any]):
    frame = pd.DataFrame([[1, 2], [3, 4]])
    frame.columns = pd.Index(labels)

    back = sent_and_back(tmp_path, frame)

    assert list(back.columns) == [*map(str, labels), *NEW]
    assert back[str(labels[1])].to_list() == [2, 4]


def test_whole_numbers_and_booleans_in_answers_may_be_missing(tmp_path: Path):
    answer = answer_format(
        ColumnsAnswer(
            columns=[
                OutputColumn(name="stars", type="integer"),
                OutputColumn(name="score", type="number"),
                OutputColumn(name="good", type="boolean"),
            ]
        )
    )
    frame = pd.DataFrame({"text": ["a", "b"]})
    rows = {0: {"stars": 2**53 + 1, "score": 0.5, "good": True}}

    back = sent_and_back(tmp_path, frame, answer, rows)

    dtypes = back[["stars", "score", "good"]].dtypes.astype(str).to_list()
    assert dtypes == ["Int64", "float64", "boolean"]
    assert back["stars"].to_list() == [2**53 + 1, pd.NA]


def test_failed_rows_keep_their_index_labels(tmp_path: Path):
    frame = pd.DataFrame({"text": list("abc")}, index=pd.Index([7, 8, 9], name="id"))
    rows = {1: {"status": "expired", "error": "expired"}}

    sent_and_back(tmp_path, frame, rows=rows)

    failed = pd.read_parquet(tmp_path / "out.failed.parquet")
    assert failed.to_dict("index") == {
        8: {"text": "b", "_status": "expired", "_error": "expired"}
    }


def test_failed_rows_of_a_range_are_numbered_anew(tmp_path: Path):
    frame = pd.DataFrame({"text": list("abc")})
    rows = {1: {"status": "expired", "error": "expired"}}

    sent_and_back(tmp_path, frame, rows=rows)

    failed = pd.read_parquet(tmp_path / "out.failed.parquet")
    assert failed.index.to_list() == [0]


def test_a_table_that_pandas_did_not_write_tells_pandas_nothing(tmp_path: Path):
    source = tmp_path / "in.parquet"
    schema = pa.schema([("n", pa.int64())], metadata={b"mine": b"1"})
    pq.write_table(pa.Table.from_pydict({"n": [1]}, schema=schema), source)

    write_table(
        rows=Rows([SourceFile(str(source), 0, "", -1)]),
        fates=planned(1),
        parts=Parts([part(tmp_path, chunk(0, (0, 1)))], TEXT.fields),
        to_url=str(tmp_path / "out.parquet"),
    )

    assert pq.read_schema(tmp_path / "out.parquet").metadata == {b"mine": b"1"}


def test_foreign_text_under_pandas_key_is_left_alone(tmp_path: Path):
    source = tmp_path / "in.parquet"
    schema = pa.schema([("n", pa.int64())], metadata={b"pandas": b"not json"})
    pq.write_table(pa.Table.from_pydict({"n": [1]}, schema=schema), source)

    write_table(
        rows=Rows([SourceFile(str(source), 0, "", -1)]),
        fates=planned(1),
        parts=Parts([part(tmp_path, chunk(0, (0, 1)))], TEXT.fields),
        to_url=str(tmp_path / "out.parquet"),
    )

    found = pq.read_schema(tmp_path / "out.parquet").metadata
    assert found == {b"pandas": b"not json"}


def test_pandas_is_told_about_every_column_once(tmp_path: Path):
    frame = pd.DataFrame({"text": list("abc")}, index=pd.Index([7, 8, 9]))

    sent_and_back(tmp_path, frame)

    metadata = pq.read_schema(tmp_path / "out.parquet").metadata or {}
    told = json.loads(metadata[b"pandas"])
    names = [column["field_name"] for column in told["columns"]]
    assert names == ["text", "__index_level_0__", *NEW]
