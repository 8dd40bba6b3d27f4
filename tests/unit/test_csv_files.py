"""CSV: types that fit every row, and messages that name the line."""

import gzip
import lzma
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from batchkit_tasks.errors import SourceError
from batchkit_tasks.tables import csv_files
from batchkit_tasks.tables.sources import Rows, open_source, stage


def read(tmp_path: Path, data: str | bytes, name: str = "a.csv") -> pa.Table:
    (tmp_path / name).write_bytes(data.encode() if isinstance(data, str) else data)
    source = open_source(str(tmp_path / name))
    rows = Rows(stage(source, str(tmp_path / "staged" / "input.parquet")))
    table = rows.read(0, rows.num_rows)
    assert table.schema == source.schema
    return table


def refusal(tmp_path: Path, data: str | bytes, name: str = "a.csv") -> str:
    with pytest.raises(SourceError) as caught:
        read(tmp_path, data, name)
    return str(caught.value)


INT, FLOAT, BOOL, TEXT = pa.int64(), pa.float64(), pa.bool_(), pa.string()


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        (["1", "-7", "0"], INT, [1, -7, 0]),
        (["1", "", "NA", "null"], INT, [1, None, None, None]),
        (["999999999999999999"], INT, [999999999999999999]),
        (["9999999999999999999"], TEXT, None),
        (["007", "1"], TEXT, None),
        (["+5"], TEXT, None),
        (["-0"], FLOAT, [-0.0]),
        (["1", "2.5", "NaN"], FLOAT, [1.0, 2.5, None]),
        (["1e-05", "1e+20", "0.30000000000000004"], FLOAT, [1e-05, 1e20, 0.1 + 0.2]),
        (["1e5"], TEXT, None),
        (["999999999999999e+289"], FLOAT, [999999999999999e289]),
        (["999999999999999e+299"], TEXT, None),
        (["1.5", "1234567890123456"], TEXT, None),
        (["01.5"], TEXT, None),
        (["1,5"], TEXT, None),
        (["true", "FALSE", ""], BOOL, [True, False, None]),
        (["true", "1"], TEXT, None),
        (["yes"], TEXT, None),
        (["2026-01-02"], TEXT, None),
        (["NA", "x"], TEXT, ["NA", "x"]),
        (["NA", "null"], TEXT, ["NA", "null"]),
        ([" 1"], TEXT, [" 1"]),
        (["", ""], TEXT, [None, None]),
    ],
)
def test_a_column_gets_a_type_only_if_all_values_fit(
    tmp_path: Path, values: list[str], kind: pa.DataType, expected: list[Any] | None
):
    quoted = "".join(f'"{value}",z\n' if value else ",z\n" for value in values)

    column = read(tmp_path, f"a,b\n{quoted}")["a"]

    assert column.type == kind
    assert column.to_pylist() == (values if expected is None else expected)


def test_later_rows_of_another_type_make_a_column_text(tmp_path: Path):
    data = "n,text\n" + "".join(f"{n},x\n" for n in range(200_000)) + "n/a,x\nseven,y\n"

    table = read(tmp_path, data)

    assert table["n"].type == TEXT
    assert table["n"][199_999:].to_pylist() == ["199999", "n/a", "seven"]
    assert table.num_rows == 200_002


def test_types_are_stable_over_blocks_and_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(csv_files, "BLOCK_BYTES", 64)
    for name, last in (("a", "1"), ("b", "2.5")):
        rows = "".join(f'{n},"x\ny"\n' for n in range(50))
        (tmp_path / f"{name}.csv").write_text(f"n,t\n{rows}{last},end\n")

    source = open_source(str(tmp_path / "*.csv"))
    rows = Rows(stage(source, str(tmp_path / "out" / "input.parquet")))

    table = rows.read(0, rows.num_rows)
    once = [*map(float, range(50))]
    assert table["n"].to_pylist() == [*once, 1.0, *once, 2.5]
    assert table["t"].to_pylist() == [*["x\ny"] * 50, "end"] * 2


def test_a_row_larger_than_a_block_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(csv_files, "BLOCK_BYTES", 100)
    texts = ["a" * 10] * 30 + ["b" * 5_000] + ["c"] * 30 + ["d" * 90_000]

    table = read(tmp_path, "n,t\n" + "".join(f"{n},{t}\n" for n, t in enumerate(texts)))

    assert table["t"].to_pylist() == texts
    assert table["n"].to_pylist() == list(range(len(texts)))


def test_empty_and_missing_are_told_apart(tmp_path: Path):
    table = read(tmp_path, 'a,b\n,""\n"",x\n')

    assert table.to_pylist() == [{"a": None, "b": ""}, {"a": "", "b": "x"}]


def test_a_byte_order_mark_is_no_part_of_the_first_name(tmp_path: Path):
    table = read(tmp_path, b"\xef\xbb\xbfa,b\n1,2\n")

    assert table.column_names == ["a", "b"]


def test_quotes_line_ends_and_odd_names_survive(tmp_path: Path):
    table = read(tmp_path, '"a ""b"", c",ü\u2028\r\n"x\r\ny","1,5"\r\n\r\n"😀",\r\n')

    assert table.column_names == ['a "b", c', "ü\u2028"]
    assert table.to_pylist() == [
        {'a "b", c': "x\r\ny", "ü\u2028": "1,5"},
        {'a "b", c': "😀", "ü\u2028": None},
    ]


@pytest.mark.parametrize(
    "data", ["a,b\n1,x", "a,b\n1,x\n", 'a,b\n1,"x"', 'a,b\n1,"x\ny"\n']
)
def test_the_last_line_end_may_be_missing(tmp_path: Path, data: str):
    assert read(tmp_path, data)["a"].to_pylist() == [1]


def test_tabs_separate_a_tsv_file(tmp_path: Path):
    table = read(tmp_path, "a\tb\n1,5\tx\n", "a.tsv")

    assert table.to_pylist() == [{"a": "1,5", "b": "x"}]


@pytest.mark.parametrize(
    ("name", "pack"),
    [
        ("a.csv.gz", gzip.compress),
        ("a.csv.xz", lzma.compress),
        ("a.csv.gz", lambda data: gzip.compress(data[:5]) + gzip.compress(data[5:])),
    ],
)
def test_compressed_files_are_read_to_their_end(tmp_path: Path, name: str, pack: Any):
    data = pack(b"a,b\n" + b"1,x\n" * 10_000)

    assert read(tmp_path, data, name).num_rows == 10_000


@pytest.mark.parametrize(
    ("name", "pack"), [("a.csv.gz", gzip.compress), ("a.csv.xz", lzma.compress)]
)
def test_a_cut_or_wrong_compressed_file_is_refused(
    tmp_path: Path, name: str, pack: Any
):
    data = pack(b"a,b\n" + b"1,x\n" * 10_000)

    assert "cannot be read as CSV" in refusal(tmp_path, data[:-20], name)
    assert "cannot be read as CSV" in refusal(tmp_path, b"a,b\n1,2\n", name)


# ---------------------------------------------------------------------- what is wrong


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ("", "a.csv has no rows"),
        ("a,b", "a.csv has no rows"),
        ("a,b\n", "it has no rows"),
        ("a,b,a\n1,2,3\n", "more than one column named 'a'"),
        ("a,b\n1,2\n1,2,3\n", "line 3: 3 fields, but the header has 2"),
        ("a,b\n\n\n1,2\n1\n", "line 5: 1 fields, but the header has 2"),
        ('a,b\n1,"x\ny\nz"\n1\n', "line 5: 1 fields, but the header has 2"),
        ('a,b\r\n1,"x\r\ny"\r\n1,2,3\r\n', "line 4: 3 fields"),
        (
            b"a,b\n1,x\n2,\xff\n",
            "line 3 is not UTF-8 (byte 0xff at offset 10 of the file)",
        ),
        (b"a,\xe4\n1,x\n", "line 1 is not UTF-8 (byte 0xe4 at offset 2 of the file)"),
        (b"a,b\n1,\xe2\x82", "line 2 is not UTF-8 (byte 0xe2 at offset 6"),
        (b"a,b\n1,\xed\xa0\x80\n", "line 2 is not UTF-8 (byte 0xed"),
        ("a,b\n1,2\n".encode("utf-16"), "line 1 is not UTF-8 (byte 0xff at offset 0"),
        ('a,b\n1,"x\n2,y\n3,z\n', "a quote that is never closed; it stands before 'x"),
    ],
)
def test_what_cannot_be_read_is_refused_by_its_line(
    tmp_path: Path, data: str | bytes, says: str
):
    assert says in refusal(tmp_path, data)


def test_a_line_far_down_is_named_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(csv_files, "BLOCK_BYTES", 1_000)
    good = "n,t\n" + '1,"x\ny"\n' * 5_000

    assert "line 10,002: 3 fields" in refusal(tmp_path, good + "1,2,3\n")
    assert "line 10,002 is not UTF-8" in refusal(tmp_path, good.encode() + b"1,\xff\n")


def test_a_character_cut_by_a_block_is_no_fault(tmp_path: Path):
    data = "a,b\n" + "ü€😀,x\n" * 700_000

    text = refusal(tmp_path, data.encode() + b"\xff,x\n")

    assert "line 700,002 is not UTF-8" in text


def test_files_with_other_columns_are_refused_by_name(tmp_path: Path):
    (tmp_path / "a.csv").write_text("a,b\n1,2\n")
    (tmp_path / "b.csv").write_text("b,a\n1,2\n")

    with pytest.raises(
        SourceError, match=r"b\.csv has the columns b, a, but the first"
    ):
        stage(open_source(str(tmp_path)), str(tmp_path / "staged" / "input.parquet"))
