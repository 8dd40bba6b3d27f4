"""The bytes of results: faults of the stream, foreign and doubled lines, scale."""

from __future__ import annotations

import time

import pytest

from batchkit_tasks.results.lines import read_lines
from tests.made_results import (
    NONCE,
    collect,
    errored,
    line,
    reader,
    row_of,
    succeeded,
)


def test_lines_in_any_order_become_rows_in_order():
    data = b"\n".join(line(p, succeeded(f"row {p}")) for p in (7, 2, 5)) + b"\n"

    found = collect(data, [2, 5, 7])

    assert found.part["position"].to_pylist() == [2, 5, 7]
    assert found.part["response"].to_pylist() == ["row 2", "row 5", "row 7"]
    assert (found.lines, found.missing, found.types) == (3, 0, {"succeeded": 3})


@pytest.mark.parametrize(
    "data",
    [
        b"%a\n%b",
        b"%a\r\n%b\r\n",
        b"\n\n%a\n \t\n\r\n%b\n\n",
        b"\xef\xbb\xbf%a\n%b\n",
        b"  %a  \n\t%b\n",
    ],
    ids=["no final newline", "crlf", "blank lines", "byte order mark", "blanks"],
)
def test_line_ends_of_all_kinds_are_the_same_lines(data: bytes):
    a, b = line(0, succeeded("A")), line(1, succeeded("B"))

    found = collect(data.replace(b"%a", a).replace(b"%b", b), [0, 1])

    assert found.part["response"].to_pylist() == ["A", "B"]
    assert (found.lines, found.torn) == (2, 0)


@pytest.mark.parametrize("cut", range(1, 30))
def test_a_torn_last_line_is_counted_and_its_row_missing(cut: int):
    data = line(0, succeeded("A")) + b"\n" + line(1, succeeded("B"))[:-cut]

    found = collect(data, [0, 1])

    assert found.part["status"].to_pylist() == ["succeeded", "missing"]
    assert (found.lines, found.torn, found.missing) == (1, 1, 1)


def test_a_cut_at_a_line_end_is_seen_as_missing_rows():
    found = collect(line(0, succeeded()) + b"\n", range(3))

    assert (found.lines, found.torn, found.missing) == (1, 0, 2)


@pytest.mark.parametrize("text", ["a\u2028b\u2029c\x85d", "\x0b\x0c\x1c", "\\n and \n"])
def test_only_newlines_end_a_line(text: str):
    assert row_of(succeeded(text))["response"] == text


def test_a_character_split_over_blocks_is_whole_again():
    data = line(0, succeeded("数据 🦊"))

    found = collect([data[at : at + 1] for at in range(len(data))])

    assert found.part["response"].to_pylist() == ["数据 🦊"]


@pytest.mark.parametrize(
    "odd",
    [
        b"<html>502</html>",
        b"42",
        b"[]",
        b"{}",
        b"null",
        b'{"custom_id":null,"result":{"type":"expired"}}',
        b'{"custom_id":"0123456789abcdef-0","result":{"type":"expired"}',
        b'{"custom_id":"0123456789abcdef-0","result":NaN}',
        b'{"custom_id":"\xff","result":{"type":"expired"}}',
        b"[" * 100_000,
    ],
)
def test_a_line_that_is_no_result_is_counted_as_torn(odd: bytes):
    found = collect(odd + b"\n" + line(0, succeeded()))

    assert (found.torn, found.lines, found.missing) == (1, 1, 0)


@pytest.mark.parametrize("end", [b"", b"\n"])
def test_the_first_of_two_lines_wins_and_the_other_is_counted(end: bytes):
    first, second = line(0, succeeded("1")), line(0, errored("api_error", "2"))

    found = collect(first + b"\n" + second + end)

    assert found.part["response"].to_pylist() == ["1"]
    assert (found.lines, found.duplicates, found.types) == (2, 1, {"succeeded": 1})


@pytest.mark.parametrize(
    "custom_id",
    [
        f"{NONCE}-4",
        f"{NONCE}-00",
        f"{NONCE}-+0",
        f"{NONCE}-٠",
        f"{NONCE}0",
        f"{NONCE}-",
        "ffffffffffffffff-0",
        "row-0",
        "",
    ],
)
def test_a_line_that_is_not_ours_is_dropped_and_counted(custom_id: str):
    foreign = line(0, succeeded("foreign")).replace(
        f"{NONCE}-0".encode(), custom_id.encode()
    )

    found = collect(foreign + b"\n" + line(0, succeeded("ours")))

    assert found.part["response"].to_pylist() == ["ours"]
    assert (found.foreign, found.lines, found.duplicates) == (1, 2, 0)


def test_twenty_lines_of_another_nonce_show_a_foreign_batch():
    made = reader(range(100))
    foreign = [line(p, succeeded(), nonce="f" * 16) + b"\n" for p in range(20)]

    for one in foreign[:19]:
        made.feed(one)
    before = made.looks_foreign
    made.feed(foreign[19])

    assert (before, made.looks_foreign) == (False, True)


@pytest.mark.parametrize("ours", [line(5, succeeded()), line(999, {"type": "expired"})])
def test_one_line_of_our_nonce_shows_that_the_batch_is_ours(ours: bytes):
    made = reader(range(100))
    made.feed(ours + b"\n")

    for position in range(30):
        made.feed(line(position, succeeded(), nonce="f" * 16) + b"\n")

    assert not made.looks_foreign


def test_a_short_foreign_batch_is_recognized_at_its_end():
    made = reader([0])
    made.feed(line(0, succeeded(), nonce="f" * 16))

    made.finish()

    assert made.looks_foreign


def test_an_empty_stream_is_not_foreign():
    made = reader([0])

    found = made.finish()

    assert not made.looks_foreign
    assert (found.lines, found.missing) == (0, 1)


def test_read_lines_gives_lines_however_blocks_are_cut():
    blocks = [b"a", b"b\n\nc", b"\n", b"", b"d\ne\n\n", b"f"]

    assert list(read_lines(blocks)) == [b"ab", b"c", b"d", b"e", b"f"]


def test_a_line_of_a_megabyte_in_small_blocks_takes_linear_time():
    data = line(0, succeeded("ü" * 600_000)) + b"\n"
    assert len(data) > 1_200_000

    before = time.process_time()
    found = collect(data[at : at + 64] for at in range(0, len(data), 64))

    assert time.process_time() - before < 5
    assert found.part["response"].to_pylist() == ["ü" * 600_000]


def test_a_hundred_thousand_lines_are_read():
    text = "x" * 50
    lines = b"".join(line(p, succeeded(text)) + b"\n" for p in range(100_000))
    blocks = (lines[at : at + 99_991] for at in range(0, len(lines), 99_991))

    found = collect(blocks, range(100_000))

    assert (found.lines, found.missing) == (100_000, 0)
    assert found.part["position"].to_pylist() == list(range(100_000))
