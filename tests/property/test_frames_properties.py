"""Whatever a frame is made of, it comes back as it was, with the answers after it."""

from __future__ import annotations

import tempfile
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given, settings
from hypothesis import strategies as st

from batchkit_tasks.output.frames import from_arrow, to_arrow
from batchkit_tasks.output.table import write_table
from batchkit_tasks.parts.joined import Parts
from batchkit_tasks.records import SourceFile
from batchkit_tasks.tables.rows import Rows
from tests.made_tables import TEXT, chunk, part, planned

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
MOMENTS = st.datetimes(
    min_value=pd.Timestamp(1700, 1, 1).to_pydatetime(),
    max_value=pd.Timestamp(2200, 1, 1).to_pydatetime(),
)

VALUES: dict[str, tuple[st.SearchStrategy[Any], str | None]] = {
    "text": (st.none() | TEXTS, None),
    "whole": (st.integers(-(2**63), 2**63 - 1), "int64"),
    "nullable": (st.none() | st.integers(0, 255), "UInt8"),
    "real": (st.none() | st.floats(), "float64"),
    "flag": (st.none() | st.booleans(), "boolean"),
    "category": (st.none() | st.sampled_from(["b", "a", "ü"]), "category"),
    "moment": (st.none() | MOMENTS, "datetime64[us]"),
    "list": (st.none() | st.lists(st.integers(0, 9), max_size=3), None),
}

INDEXES: dict[str, st.SearchStrategy[Any]] = {
    "texts": TEXTS,
    "numbers": st.integers(0, 3),
    "pairs": st.tuples(st.sampled_from("ab"), st.integers(0, 2)),
}


@st.composite
def frames(draw: st.DrawFn) -> pd.DataFrame:
    rows = draw(st.integers(1, 12))
    names = draw(st.lists(st.sampled_from(sorted(VALUES)), min_size=1, unique=True))
    columns: dict[str, Any] = {}
    for name in names:
        values, dtype = VALUES[name]
        drawn = draw(st.lists(values, min_size=rows, max_size=rows))
        columns[name] = pd.Series(drawn, dtype=dtype)
    frame = pd.DataFrame(columns)
    kind = draw(st.sampled_from(["range", *INDEXES]))
    if kind != "range":
        labels = draw(st.lists(INDEXES[kind], min_size=rows, max_size=rows))
        frame.index = pd.Index(labels)
    return frame


@settings(max_examples=80, deadline=None)
@given(frame=frames(), window_rows=st.integers(1, 5))
def test_a_frame_comes_back_identical_through_the_output(
    frame: pd.DataFrame, window_rows: int
):
    before = frame.copy(deep=True)

    table, kind = to_arrow(frame)
    with tempfile.TemporaryDirectory() as folder:
        pq.write_table(table, f"{folder}/in.parquet", row_group_size=4)
        write_table(
            rows=Rows([SourceFile(f"{folder}/in.parquet", 0, "", -1)]),
            fates=planned(len(frame)),
            parts=Parts([part(folder, chunk(0, (0, len(frame))))], TEXT.fields),
            to_url=f"{folder}/out.parquet",
            window_rows=window_rows,
        )
        staged = pq.read_schema(f"{folder}/in.parquet")
        output: pa.Table = pq.read_table(f"{folder}/out.parquet")
    back = from_arrow(output, kind)

    new = ["response", "_status", "_error", "_meta"]
    assert list(back.columns) == [*frame.columns, *new]
    pd.testing.assert_frame_equal(back[list(frame.columns)], before)
    pd.testing.assert_frame_equal(frame, before)
    assert back["response"].to_list() == [
        f"answer {i} of round 1" for i in range(len(frame))
    ]
    # Parquet itself keeps dictionaries of texts only.
    assert output.schema.types[: len(staged)] == staged.types
    assert output.schema.names[: len(staged)] == table.schema.names
