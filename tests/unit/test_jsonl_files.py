"""JSON Lines: columns from keys, types that fit every line, faults by their line."""

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from batchkit_tasks.errors import SourceError
from batchkit_tasks.tables import jsonl_files
from batchkit_tasks.tables.sources import Rows, open_source, stage


def read(tmp_path: Path, data: str | bytes, name: str = "a.jsonl") -> pa.Table:
    (tmp_path / name).write_bytes(data.encode() if isinstance(data, str) else data)
    source = open_source(str(tmp_path / name))
    rows = Rows(stage(source, str(tmp_path / "staged" / "input.parquet")))
    table = rows.read(0, rows.num_rows)
    assert table.schema == source.schema
    return table


def refusal(tmp_path: Path, data: str | bytes, name: str = "a.jsonl") -> str:
    with pytest.raises(SourceError) as caught:
        read(tmp_path, data, name)
    return str(caught.value)


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        ("1 null -2", pa.int64(), [1, None, -2]),
        ("999999999999999999 1", pa.int64(), [999999999999999999, 1]),
        ("1 2.5", pa.float64(), [1.0, 2.5]),
        ("1e3", pa.float64(), [1000.0]),
        ("1e999 1", pa.string(), ["1e999", "1"]),
        ("123456789012345678901 1", pa.string(), ["123456789012345678901", "1"]),
        ("123456789012345678 1.5", pa.string(), ["123456789012345678", "1.5"]),
        ("true false null", pa.bool_(), [True, False, None]),
        ("true 1", pa.string(), ["true", "1"]),
        ('"2026-01-02" null', pa.string(), ["2026-01-02", None]),
        ('1 "a"', pa.string(), ["1", "a"]),
        ("null null", pa.string(), [None, None]),
        ('["a",null] [] null', pa.list_(pa.string()), [["a", None], [], None]),
        ("[1] [2.5]", pa.list_(pa.float64()), [[1.0], [2.5]]),
        ("[] []", pa.list_(pa.string()), [[], []]),
        ('[1] ["a"]', pa.string(), ["[1]", '["a"]']),
        ("[[1]]", pa.string(), ["[[1]]"]),
        ("[1] 1", pa.string(), ["[1]", "1"]),
        ('{"b":[1,2.50]} null', pa.string(), ['{"b":[1,2.50]}', None]),
        ('"ü\\u2028\\ud83d\\ude00"', pa.string(), ["ü\u2028😀"]),
    ],
)
def test_a_column_gets_the_type_that_fits_all_values(
    tmp_path: Path, values: str, kind: pa.DataType, expected: list[Any]
):
    lines = "".join(f'{{"a": {value}}}\n' for value in values.split())

    column = read(tmp_path, lines)["a"]

    assert column.type == kind
    assert column.to_pylist() == expected


def test_objects_keep_the_text_they_have_in_the_file(tmp_path: Path):
    table = read(tmp_path, '{"a": {"x" :  1.50, "ä": null}}\n')

    assert table["a"].to_pylist() == ['{"x" :  1.50, "ä": null}']


def test_later_lines_bring_new_columns_and_types(tmp_path: Path):
    early = "".join(f'{{"n": {n}}}\n' for n in range(200_000))

    table = read(tmp_path, early + '{"n": "x", "late": 1}\n')

    assert table.column_names == ["n", "late"]
    assert table["n"].type == pa.string()
    assert table[199_999:].to_pylist() == [
        {"n": "199999", "late": None},
        {"n": "x", "late": 1},
    ]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64])
def test_blocks_of_any_size_give_the_same_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
):
    monkeypatch.setattr(jsonl_files, "BLOCK_BYTES", size)
    rows = [{"a": "ü€😀" * n, "b": n} for n in range(6)]
    data = "\r\n\n".join(json.dumps(row, ensure_ascii=False) for row in rows)

    assert read(tmp_path, b"\xef\xbb\xbf" + data.encode()).to_pylist() == rows


def test_compressed_files_are_read(tmp_path: Path):
    packed = gzip.compress(b'{"a":1}\n') + gzip.compress(b'{"a":2}\n')

    table = read(tmp_path, packed, "a.ndjson.gz")

    assert table["a"].to_pylist() == [1, 2]
    assert "cannot be read" in refusal(tmp_path, packed[:-10], "a.jsonl.gz")


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ("", "it has no rows"),
        ("\n \n", "it has no rows"),
        ("{}\n{}\n", "it has no columns"),
        ('{"a": 1}\n\n{"a": \n', "line 3 is not JSON"),
        ('{"a": 1}\n[1]\n', "line 2 is not a JSON object"),
        ('{"a": 1}\nnull\n', "line 2 is not a JSON object"),
        ('{"a": 1} {"a": 2}\n', "line 1 is not JSON"),
        ('{"a": "\\ud800"}\n', "line 1 is not JSON"),
        (
            b'{"a": 1}\n{"a": "\xff"}\n',
            "line 2 is not UTF-8 (byte 0xff at offset 16 of",
        ),
        (b'{"a": {"b": "\xff"}}\n', "line 1 is not UTF-8"),
        ('{"a": ' + "[" * 100_000, "line 1 is nested too deeply"),
    ],
)
def test_what_cannot_be_read_is_refused_by_its_line(
    tmp_path: Path, data: str | bytes, says: str
):
    assert says in refusal(tmp_path, data)


def test_a_line_far_down_is_named_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(jsonl_files, "BLOCK_BYTES", 1_000)

    assert "line 5,001 is not JSON" in refusal(tmp_path, '{"a": 1}\n' * 5_000 + "{")
