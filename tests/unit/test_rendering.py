"""Which text a value becomes: one case per line of the table in `prompts.rendering`."""

import datetime as dt
import pickle
import uuid
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from batchkit_tasks.errors import ColumnTypeError
from batchkit_tasks.prompts.rendering import check_renderable, render_column

NOON = dt.datetime(2026, 7, 1, 12, 0, 0)
DAY_NS = 86_400_000_000_000


def _seconds(*values: int | None) -> pa.Array:
    return pa.array(values, pa.int64())


CASES: list[tuple[pa.Array, list[str | None]]] = [
    (pa.array(["a", None, ""]), ["a", None, ""]),
    (pa.array(['"\\\u2028😀'], pa.large_string()), ['"\\\u2028😀']),
    (pa.array(["a", None], pa.string_view()), ["a", None]),
    (pa.array([1, -7, None], pa.int8()), ["1", "-7", None]),
    (pa.array([2**64 - 1], pa.uint64()), ["18446744073709551615"]),
    (pa.array([0.1, 3.0, None, 1e20, -0.0]), ["0.1", "3.0", None, "1e+20", "-0.0"]),
    (
        pa.array([float("nan"), float("inf"), float("-inf")]),
        ["NaN", "Infinity", "-Infinity"],
    ),
    (pa.array([0.1, 3.0, None], pa.float32()), ["0.1", "3.0", None]),
    (pa.array([np.float16(0.5)], pa.float16()), ["0.5"]),
    (
        pa.array([Decimal("1.50"), None, Decimal("0.00")], pa.decimal128(9, 2)),
        ["1.50", None, "0.00"],
    ),
    (pa.array([Decimal("0E-10")], pa.decimal128(20, 10)), ["0.0000000000"]),
    (pa.array([Decimal("12E+2")], pa.decimal256(9, -2)), ["1200"]),
    (pa.array([True, False, None]), ["true", "false", None]),
    (pa.array([dt.date(2026, 1, 2), None]), ["2026-01-02", None]),
    (pa.array([dt.date(2026, 1, 2)], pa.date64()), ["2026-01-02"]),
    (
        pa.array([NOON, NOON.replace(microsecond=500_000), None], pa.timestamp("us")),
        ["2026-07-01T12:00:00", "2026-07-01T12:00:00.5", None],
    ),
    (pa.array([NOON], pa.timestamp("s")), ["2026-07-01T12:00:00"]),
    (
        _seconds(1_000_000_001, None).cast(pa.timestamp("ns")),
        ["1970-01-01T00:00:01.000000001", None],
    ),
    (
        pa.array([NOON, None], pa.timestamp("ms", "UTC")),
        ["2026-07-01T12:00:00+00:00", None],
    ),
    (
        _seconds(1_782_900_000, 1_798_801_200, None).cast(
            pa.timestamp("s", "Europe/Berlin")
        ),
        ["2026-07-01T12:00:00+02:00", "2027-01-01T12:00:00+01:00", None],
    ),
    (_seconds(0).cast(pa.timestamp("s", "-03:30")), ["1969-12-31T20:30:00-03:30"]),
    (
        _seconds(-4_000_000_000).cast(pa.timestamp("s", "Europe/Berlin")),
        ["1843-03-31T17:46:48+00:53:28"],
    ),
    (
        pa.array([dt.time(8, 21), dt.time(1, 2, 3, 40), None]),
        ["08:21:00", "01:02:03.00004", None],
    ),
    (pa.array([dt.time(8, 21)], pa.time32("s")), ["08:21:00"]),
    (
        _seconds(0, -1, 3_723, 90_061, 86_400, None).cast(pa.duration("s")),
        ["PT0S", "-PT1S", "PT1H2M3S", "P1DT1H1M1S", "P1D", None],
    ),
    (
        _seconds(DAY_NS + 1, 4_500_000_000).cast(pa.duration("ns")),
        ["P1DT0.000000001S", "PT4.5S"],
    ),
    (
        pa.array([["a", None, 'q"ü'], [], None]),
        ['["a", null, "q\\"ü"]', "[]", None],
    ),
    (pa.array([[1, 2], None], pa.list_(pa.int64(), 2)), ["[1, 2]", None]),
    (pa.array([[1], None, [2, 3]], pa.list_view(pa.int8())), ["[1]", None, "[2, 3]"]),
    (
        pa.array([[0.5, float("nan"), float("inf"), None]]),
        ["[0.5, null, null, null]"],
    ),
    (pa.array([[[True], None], [[]]]), ["[[true], null]", "[[]]"]),
    (
        pa.array([{"a b": 1, "c": "x"}, {"a b": None, "c": None}, None]),
        ['{"a b": 1, "c": "x"}', '{"a b": null, "c": null}', None],
    ),
    (
        pa.array([{"when": NOON, "d": Decimal("1.50")}]),
        ['{"when": "2026-07-01T12:00:00", "d": 1.50}'],
    ),
    (
        pa.array([[("a", 1), ("b", None)], None, []], pa.map_(pa.string(), pa.int64())),
        ['{"a": 1, "b": null}', None, "{}"],
    ),
    (pa.array([[(1, "x")]], pa.map_(pa.int64(), pa.string())), ['{"1": "x"}']),
    (
        pa.array([["a", "b"], ["a"]], pa.list_(pa.dictionary(pa.int8(), pa.string()))),
        ['["a", "b"]', '["a"]'],
    ),
    (pa.array(["a", None, "b", "a"]).dictionary_encode(), ["a", None, "b", "a"]),
    (pa.array([1.0, None]).dictionary_encode(), ["1.0", None]),
    (
        pa.RunEndEncodedArray.from_arrays(pa.array([2, 3]), pa.array(["x", "y"])),
        ["x", "x", "y"],
    ),
    (pa.nulls(2), [None, None]),
    (
        pa.array([uuid.UUID(int=1).bytes, None], pa.uuid()),
        ["00000000-0000-0000-0000-000000000001", None],
    ),
    (pa.array(['{"a":1}', None], pa.json_()), ['{"a":1}', None]),
]


@pytest.mark.parametrize(
    ("array", "texts"), CASES, ids=lambda v: str(getattr(v, "type", ""))
)
def test_a_value_becomes_the_documented_text(array: pa.Array, texts: list[str | None]):
    check_renderable(array.type, "x")

    assert render_column(array) == texts


@pytest.mark.parametrize(
    ("array", "texts"), CASES, ids=lambda v: str(getattr(v, "type", ""))
)
def test_a_slice_and_a_chunked_column_give_the_same_texts(
    array: pa.Array, texts: list[str | None]
):
    assert render_column(array[1:]) == texts[1:]
    assert render_column(pa.chunked_array([array[:1], array[1:]])) == texts


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        (pa.binary(), "holds binary.*Decode it to text"),
        (pa.large_binary(), "holds large_binary"),
        (pa.binary(4), "holds fixed_size_binary"),
        (pa.list_(pa.binary()), "holds binary"),
        (pa.struct([pa.field("a", pa.binary_view())]), "holds binary_view"),
        (pa.dictionary(pa.int8(), pa.binary()), "holds binary"),
        (pa.month_day_nano_interval(), "Turn it into text first"),
        (pa.dense_union([pa.field("a", pa.int8())]), "Turn it into text first"),
        (pa.timestamp("s", "Mars/Olympus"), "time zone is not known here"),
    ],
    ids=str,
)
def test_a_type_without_a_text_is_refused_by_the_columns_name(
    kind: pa.DataType, says: str
):
    with pytest.raises(ColumnTypeError, match=says) as caught:
        check_renderable(kind, "picture")

    assert "Column picture" in str(caught.value)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_bytes_that_are_not_utf8_do_not_stop_the_column():
    raw: Any = pa.array([b"good", b"b\xffd", None])
    array = pa.StringArray.from_buffers(
        3, raw.buffers()[1], raw.buffers()[2], raw.buffers()[0]
    )

    texts = render_column(array)

    assert texts == ["good", "b\udcffd", None]
