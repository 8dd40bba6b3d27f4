"""Cutting rows into chunks: the cases with a name. The laws are in tests/property."""

import time

import numpy as np
import pytest

from batchkit_tasks.chunks import cut_rows, merge_positions
from batchkit_tasks.prompts.requests import BODY_OVERHEAD


def counts(rows: int, **limits: int) -> list[int]:
    chunks = cut_rows(
        np.arange(rows),
        np.full(rows, 100),
        max_requests=limits.get("max_requests", 10_000),
        max_bytes=limits.get("max_bytes", 200_000_000),
    )
    return [chunk.requests for chunk in chunks]


def test_no_rows_give_no_chunks():
    assert counts(0) == []


def test_a_small_table_is_one_chunk():
    assert counts(7) == [7]


def test_full_chunks_differ_by_one():
    assert counts(35_000) == [10_000, 9_999, 9_998, 5_003]


def test_a_remainder_whose_count_is_taken_is_cut_again():
    assert counts(20, max_requests=10) == [10, 9, 1]
    assert counts(10 + 9 + 8 + 9, max_requests=10) == [10, 9, 8, 7, 2]


def test_counts_repeat_only_when_more_than_half_would_be_left_out():
    assert counts(6, max_requests=2) == [2, 1, 2, 1]
    assert counts(3, max_requests=1) == [1, 1, 1]


def test_counts_of_earlier_rounds_are_not_used_again():
    chunks = cut_rows(
        range(10), [100] * 10, max_requests=10, max_bytes=10_000, used_counts={10, 9}
    )

    assert [chunk.requests for chunk in chunks] == [8, 2]


def test_bytes_cut_before_the_count_does():
    three = BODY_OVERHEAD + 3 * 100 + 2

    assert counts(3, max_bytes=three) == [3]
    assert counts(3, max_bytes=three - 1) == [2, 1]


def test_chunks_carry_what_they_were_cut_for():
    (chunk,) = cut_rows(
        [3, 4, 9], [10, 20, 30], max_requests=5, max_bytes=1_000,
        first_number=7, attempt=2, expiries=1, max_tokens=2048,
    )  # fmt: skip

    assert (chunk.number, chunk.attempt, chunk.expiries) == (7, 2, 1)
    assert chunk.max_tokens == 2048
    assert chunk.ranges == ((3, 5), (9, 10))
    assert chunk.body_bytes == BODY_OVERHEAD + 60 + 2


def test_ranges_merge_neighbours():
    assert merge_positions(np.array([0, 1, 2, 5, 7, 8])) == ((0, 3), (5, 6), (7, 9))
    assert merge_positions(np.array([], np.int64)) == ()


@pytest.mark.parametrize(
    ("positions", "sizes", "limits", "says"),
    [
        ([4, 5], [10, 990], (10, 1_000), "row 5 alone has 990 bytes"),
        ([5, 4], [10, 10], (10, 1_000), "must ascend"),
        ([4, 4], [10, 10], (10, 1_000), "must ascend"),
        ([4], [10, 10], (10, 1_000), "1 positions, but 2 sizes"),
        ([4], [10], (0, 1_000), "max_requests is 0"),
    ],
)
def test_what_cannot_be_cut_is_refused(
    positions: list[int], sizes: list[int], limits: tuple[int, int], says: str
):
    with pytest.raises(ValueError, match=says):
        cut_rows(positions, sizes, max_requests=limits[0], max_bytes=limits[1])


def test_a_million_rows_are_cut_in_well_under_a_second():
    rows = 1_000_000
    sizes = np.random.default_rng(0).integers(200, 10_000, rows)

    started = time.process_time()
    chunks = cut_rows(np.arange(rows), sizes, max_requests=10_000, max_bytes=20_000_000)

    assert time.process_time() - started < 1
    assert len({chunk.requests for chunk in chunks}) == len(chunks)
