"""Frames go in and come back as they were, with new columns at the end."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from polars.testing import assert_frame_equal as assert_polars_equal

from batchkit_tasks.errors import InputError
from batchkit_tasks.output.frames import from_arrow, to_arrow
from batchkit_tasks.output.table import FAILED_ROWS_KEY

ANSWERS = {
    "response": ["yes", None, "no"],
    "stars": [5, None, 2**53 + 1],
    "good": [True, None, False],
    "score": [0.5, None, 1.0],
    "tags": [["a"], None, []],
    "_meta": [{"model": "m", "cost_usd": 0.1}, {"model": None, "cost_usd": None}, None],
}


def with_answers(table: pa.Table, **answers: Any) -> pa.Table:
    """Append columns, as the output table does."""
    for name, values in (answers or ANSWERS).items():
        table = table.append_column(name, pa.array(values))
    return table


def there_and_back(frame: Any) -> Any:
    table, kind = to_arrow(frame)
    return from_arrow(with_answers(table), kind)


PANDAS: dict[str, Any] = {
    "plain": pd.DataFrame({"text": ["a", "b", None], "n": [1, 2, 3]}),
    "named text index": pd.DataFrame(
        {"text": list("abc")}, index=pd.Index(["x", "y", "z"], name="key")
    ),
    "duplicate index values": pd.DataFrame({"text": list("abc")}, index=[7, 7, 7]),
    "range with a step": pd.DataFrame(
        {"text": list("abc")}, index=pd.RangeIndex(10, 4, -2)
    ),
    "index named like a column": pd.DataFrame(
        {"text": list("abc")}, index=pd.Index(["x", "y", "z"], name="text")
    ),
    "index of mixed things": pd.DataFrame({"text": list("abc")}, index=[1, "b", None]),
    "index with a frequency": pd.DataFrame(
        {"text": list("abc")}, index=pd.date_range("2026-01-01", periods=3, freq="h")
    ),
    "two levels": pd.DataFrame(
        {"text": list("abc")},
        index=pd.MultiIndex.from_tuples(
            [("a", 1), ("a", 1), ("b", 2)], names=["letter", None]
        ),
    ),
    "dtypes": pd.DataFrame(
        {
            "category": pd.Categorical(
                list("bab"), categories=list("zab"), ordered=True
            ),
            "nullable": pd.array([1, None, 3], dtype="Int8"),
            "boolean": pd.array([True, None, False], dtype="boolean"),
            "zoned": pd.date_range("2026-03-29", periods=3, tz="Europe/Berlin"),
            "seconds": pd.to_datetime(["2026-01-01", "NaT", "2026-01-03"]).as_unit("s"),
            "duration": pd.to_timedelta(["1h", "NaT", "3h"]),
            "decimal": [Decimal("1.10"), None, Decimal("2")],
            "date": [dt.date(2026, 1, 1), None, dt.date(2026, 1, 3)],
            "list": [[1], [], None],
            "struct": [{"a": [1]}, {"a": None}, None],
            "float32": np.array([0.1, np.nan, 1], dtype="float32"),
            "period": pd.period_range("2026-01", periods=3, freq="M"),
            "interval": pd.interval_range(0, 3),
            "bytes": [b"\xff", None, b""],
            "arrow": pd.array([1, None, 3], dtype="int16[pyarrow]"),
        }
    ),
    "labels that are numbers": pd.DataFrame({0: list("abc"), 7: [1, 2, 3]}),
    "labels that are categories": pd.DataFrame(
        [[1, 2]] * 3, columns=pd.CategoricalIndex(["a", "b"])
    ),
    "no columns": pd.DataFrame(index=[1, 2, 3]),
}


@pytest.mark.parametrize("name", PANDAS)
def test_a_pandas_frame_comes_back_identical_with_the_answers_after_it(name: str):
    frame: pd.DataFrame = PANDAS[name]
    before = frame.copy()

    back = there_and_back(frame)

    assert list(back.columns) == [*frame.columns, *ANSWERS]
    ours = back.iloc[:, : len(frame.columns)].set_axis(frame.columns, axis=1)
    pd.testing.assert_frame_equal(ours, before, check_freq=True)
    pd.testing.assert_frame_equal(frame, before, check_freq=True)


def test_answers_in_pandas_have_dtypes_with_missing_values():
    back = there_and_back(PANDAS["named text index"])

    assert back["stars"].dtype == "Int64"
    assert back["good"].dtype == "boolean"
    assert back["score"].dtype == "float64"
    assert back["response"].dtype == pd.Series(["a"]).dtype
    assert back.loc["z", "stars"] == 2**53 + 1
    assert back["response"].isna().to_list() == [False, True, False]
    assert back.loc["x", "_meta"] == {"model": "m", "cost_usd": 0.1}


def test_attributes_of_a_pandas_frame_stay_whatever_they_are():
    frame = pd.DataFrame({"text": list("abc")})
    frame.attrs["seen by"] = {"a", "b"}  # not JSON
    frame.columns.name = "question"

    back = there_and_back(frame)

    assert back.attrs == frame.attrs
    assert back.columns.name == "question"


def test_a_change_to_the_result_does_not_reach_the_callers_frame():
    frame = pd.DataFrame({"text": list("abc")})

    back = there_and_back(frame)
    back.loc[0, "text"] = "changed"

    assert frame["text"].to_list() == ["a", "b", "c"]
    assert list(frame.columns) == ["text"]


def test_a_class_of_ones_own_comes_back():
    class Survey(pd.DataFrame):
        @property
        def _constructor(self) -> type[Survey]:
            return Survey

    back = there_and_back(Survey({"text": list("abc")}))

    assert isinstance(back, Survey)


def test_prompts_can_use_a_named_index_and_numbered_columns():
    frame = pd.DataFrame({0: list("abc")}, index=pd.Index([7, 8, 9], name="id"))

    table, _ = to_arrow(frame)

    assert table.to_pylist()[0] == {"0": "a", "id": 7}


@pytest.mark.parametrize(
    ("labels", "sentence"),
    [
        (["a", "a"], "a are there more than once"),
        ([1, "1"], "1 are there more than once"),
        ([("a", "x"), ("a", "y")], r"one is \('a', 'x'\)"),
        ([None, "a"], "one is (None|nan)"),
        ([True, "a"], "one is True"),
    ],
)
def test_labels_that_cannot_be_told_in_a_prompt_are_refused(
    labels: list[Any], sentence: str
):
    frame = pd.DataFrame([[1, 2]])
    frame.columns = pd.Index(labels)

    with pytest.raises(InputError, match=sentence):
        to_arrow(frame)


def test_a_column_of_mixed_values_is_refused_by_name_with_advice():
    frame = pd.DataFrame({"text": ["a", "b"], "mixed": [1, "b"]})

    with pytest.raises(InputError, match=r"Column mixed .* Convert it to text"):
        to_arrow(frame)
    with pytest.raises(InputError, match="Column mixed"):
        to_arrow(frame, needed=["mixed"])


def test_a_column_that_arrow_cannot_hold_and_nobody_needs_comes_back():
    things = [object(), object(), object()]
    frame = pd.DataFrame(
        {
            "things": things,
            "text": list("abc"),
            "sparse": pd.arrays.SparseArray([0, 0, 1]),
        }
    )

    table, kind = to_arrow(frame, needed=["text"])
    back = from_arrow(with_answers(table), kind)

    assert table.column_names == ["text"]
    assert list(back.columns) == [*frame.columns, *ANSWERS]
    pd.testing.assert_frame_equal(back[list(frame.columns)], frame)


POLARS = pl.DataFrame(
    {
        "text": ["a", None, "ü 🙂"],
        "category": pl.Series(["u", "v", "u"], dtype=pl.Categorical),
        "enum": pl.Series(["v", None, "u"], dtype=pl.Enum(["u", "v"])),
        "decimal": pl.Series(["1.50", "2", None]).cast(pl.Decimal(10, 2)),
        "zoned": pl.Series([1, 2, None], dtype=pl.Datetime("us", "Europe/Berlin")),
        "time": pl.Series([1, 2, 3], dtype=pl.Time),
        "duration": pl.Series([1, 2, 3], dtype=pl.Duration("ms")),
        "small": pl.Series([1, None, 3], dtype=pl.UInt8),
        "list": [[1], [], None],
        "struct": [{"a": 1}, {"a": None}, {"a": 3}],
    }
)


def test_a_polars_frame_comes_back_identical_with_the_answers_after_it():
    back = there_and_back(POLARS)

    assert back.columns == [*POLARS.columns, *ANSWERS]
    assert_polars_equal(back.select(POLARS.columns), POLARS)
    assert back["stars"].to_list() == [5, None, 2**53 + 1]
    assert back.schema["stars"] == pl.Int64


@pytest.mark.parametrize(
    "column",
    [
        pl.Series("wide", [1, 2, 3], dtype=pl.Int128),
        pl.Series("wide", [object(), object(), object()], dtype=pl.Object),
    ],
    ids=["128 bits", "objects"],
)
def test_a_polars_column_that_arrow_cannot_hold_comes_back_if_nobody_needs_it(
    column: pl.Series,
):
    wide = POLARS.with_columns(column)

    table, kind = to_arrow(wide, needed=["text"])
    back = from_arrow(with_answers(table), kind)

    assert "wide" not in table.column_names
    assert_polars_equal(back.select(POLARS.columns), POLARS)
    assert back["wide"].to_list() == column.to_list()
    with pytest.raises(InputError, match="Column wide"):
        to_arrow(wide)


def test_a_lazy_frame_is_refused_with_advice():
    with pytest.raises(InputError, match=r"Call \.collect\(\) on it"):
        to_arrow(POLARS.lazy())


def test_an_arrow_table_comes_back_with_its_chunks_and_metadata():
    frame = pa.Table.from_batches(
        [
            pa.record_batch({"n": pa.array([1, 2])}),
            pa.record_batch({"n": pa.array([3])}),
        ]
    ).replace_schema_metadata({"mine": "1"})

    back = there_and_back(frame)

    assert back.column_names == ["n", *ANSWERS]
    assert back.select(["n"]).equals(frame)
    assert back.column("n").num_chunks == 2
    assert back.schema.metadata == {b"mine": b"1"}


def test_an_arrow_table_that_pandas_made_still_knows_its_index():
    frame = pd.DataFrame({"text": list("abc")}, index=pd.Index([7, 8, 9], name="id"))

    back = there_and_back(pa.Table.from_pandas(frame)).to_pandas()

    pd.testing.assert_frame_equal(back[["text"]], frame)
    assert back["stars"].dtype == "Int64"


def test_our_marks_on_a_table_of_failed_rows_are_taken_off():
    failed = pa.table({"n": pa.array([1, 2, 3]), "_status": pa.array(["expired"] * 3)})
    failed = failed.replace_schema_metadata({FAILED_ROWS_KEY: "1"})

    back = there_and_back(failed)

    assert back.column_names == ["n", *ANSWERS]


def test_an_arrow_table_with_one_name_twice_is_refused():
    table = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"])

    with pytest.raises(InputError, match="a are there more than once"):
        to_arrow(table)


@pytest.mark.parametrize("thing", [[{"a": 1}], {"a": [1]}, "table.parquet", None])
def test_other_things_are_refused_by_their_type(thing: Any):
    with pytest.raises(InputError, match=f"not builtins.{type(thing).__name__}"):
        to_arrow(thing)


def test_an_output_of_another_length_is_never_joined():
    table, kind = to_arrow(pd.DataFrame({"n": [1, 2, 3]}))

    with pytest.raises(ValueError, match="the output has 2 rows, the frame 3"):
        from_arrow(table.slice(1), kind)
